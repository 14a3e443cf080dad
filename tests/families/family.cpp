#include "tweedie/families/family.h"

#include <doctest/doctest.h>
#include <torch/utils.h>

#include "tests/refusal.h"
#include "tweedie/base/error.h"
#include "tweedie/families/recognise.h"
#include "tweedie/model/network.h"
#include "tweedie/nets/dit.h"
#include "tweedie/nets/initialise.h"
#include "tweedie/nets/unet.h"

using namespace tweedie;
using tweedie::testing::refusal;
using tweedie::testing::says;

namespace {

const Json kDiffusers = {{"_class_name", "UNet2DModel"},
                         {"sample_size", 8},
                         {"in_channels", 1},
                         {"out_channels", 1},
                         {"layers_per_block", 1},
                         {"block_out_channels", {8, 16}},
                         {"down_block_types", {"DownBlock2D", "AttnDownBlock2D"}},
                         {"up_block_types", {"AttnUpBlock2D", "UpBlock2D"}},
                         {"norm_num_groups", 4}};
const Json kGuided = {{"_class_name", "UNetModel"}, {"image_size", 8},
                      {"model_channels", 32},       {"out_channels", 6},
                      {"num_res_blocks", 1},        {"attention_resolutions", {2}},
                      {"channel_mult", {1, 2}},     {"num_heads", 2},
                      {"num_classes", 3},           {"use_scale_shift_norm", true},
                      {"resblock_updown", true}};
const Json kSong = {{"_class_name", "EDMPrecond"},
                    {"model_type", "SongUNet"},
                    {"img_resolution", 8},
                    {"img_channels", 3},
                    {"model_channels", 8},
                    {"channel_mult", {1, 2, 2}},
                    {"num_blocks", 1},
                    {"attn_resolutions", {4}},
                    {"embedding_type", "fourier"},
                    {"encoder_type", "residual"},
                    {"decoder_type", "skip"},
                    {"resample_filter", {1, 3, 3, 1}},
                    {"label_dim", 3},
                    {"augment_dim", 2}};
const Json kAdm = {{"_class_name", "iDDPMPrecond"}, {"img_channels", 3},      {"img_resolution", 8},
                   {"model_channels", 32},          {"channel_mult", {1, 2}}, {"num_blocks", 1},
                   {"attn_resolutions", {4}},       {"label_dim", 3}};
const Json kDit = {{"_class_name", "DiT"}, {"input_size", 8}, {"in_channels", 4},
                   {"hidden_size", 16},    {"depth", 2},      {"num_heads", 2},
                   {"num_classes", 3}};

Json with(Json config, const Json& more) {
  config.update(more);
  return config;
}

std::shared_ptr<Network> network_of(const Family& family, uint64_t seed) {
  Json options = family.model;
  const bool learned = options["variance"] == "learned";
  for (const char* key : {"network", "parameterisation", "parameterisation_options", "variance"})
    options.erase(key);
  options.update(
      {{"sample_shape", family.shape}, {"classes", family.classes}, {"learned_variance", learned}});
  const auto network = family.model["network"] == "dit" ? make_dit(options) : make_unet(options);
  network->zero_initialised.clear();
  initialise(*network, seed);
  network->eval();
  return network;
}

/// The parameters themselves.
Tensors weights_of(Network& network) {
  Tensors out;
  for (const auto& parameter : network.named_parameters()) out[parameter.key()] = parameter.value();
  return out;
}

Tensor output(Network& network, const Family& family) {
  const torch::NoGradGuard no_grad;
  std::vector<int64_t> sizes = family.shape;
  sizes.insert(sizes.begin(), 2);
  Condition condition;
  if (family.classes > 0) condition.label = at::tensor({0, 2}, at::kLong);
  return network.forward(at::linspace(-1, 1, c10::multiply_integers(sizes)).view(sizes),
                         at::tensor({3.0F, 500.0F}), condition);
}

}  // namespace

TEST_CASE("weights go out under another library's names and come back the same") {
  const torch::NoGradGuard no_grad;
  for (const Json& config : {kDiffusers, kGuided, kSong, kAdm, kDit}) {
    CAPTURE(config["_class_name"].get<std::string>());
    const Family family = read_family(config);
    const auto first = network_of(family, 1), second = network_of(family, 2);
    CHECK_FALSE(at::equal(output(*first, family), output(*second, family)));
    take_weights(family, give_weights(family, weights_of(*first)), weights_of(*second));
    CHECK(at::equal(output(*first, family), output(*second, family)));
  }
}

TEST_CASE("a file of weights alone says which network it is of") {
  const torch::NoGradGuard no_grad;
  const std::map<std::string, Json> asked = {{"diffusers UNet2DModel", kDiffusers},
                                             {"guided-diffusion UNetModel", kGuided},
                                             {"EDM network over SongUNet", kSong},
                                             {"EDM network over DhariwalUNet", kAdm},
                                             {"DiT", kDit}};
  for (const auto& [name, config] : asked) {
    CAPTURE(name);
    const Family family = read_family(config);
    TensorSizes sizes;
    for (const auto& [key, tensor] : give_weights(family, weights_of(*network_of(family, 1))))
      sizes[key] = tensor.sizes().vec();
    const auto found = recognise_weights(sizes);
    REQUIRE(found);
    CHECK(found->family == name);
    size_t told = 0;
    for (const auto& [key, value] : found->config.items()) {
      if (!config.contains(key)) continue;
      CAPTURE(key);
      CHECK(config[key] == value);
      ++told;
    }
    CHECK(told >= 3);
  }
  CHECK_FALSE(recognise_weights({{"weight", {3, 4}}}));
}

TEST_CASE("names and shapes are those of the libraries") {
  const torch::NoGradGuard no_grad;
  const auto shapes = [](const Json& config) {
    const Family family = read_family(config);
    return give_weights(family, weights_of(*network_of(family, 1)));
  };
  const auto has = [](const Tensors& tensors, const std::string& name, std::vector<int64_t> sizes) {
    CAPTURE(name);
    REQUIRE(tensors.contains(name));
    CHECK(tensors.at(name).sizes() == at::IntArrayRef(sizes));
  };
  const Tensors guided = shapes(kGuided);
  has(guided, "input_blocks.0.0.weight", {32, 3, 3, 3});
  has(guided, "input_blocks.2.0.in_layers.2.weight", {32, 32, 3, 3});  // halves the size
  has(guided, "input_blocks.3.1.qkv.weight", {192, 64, 1});
  has(guided, "middle_block.1.proj_out.bias", {64});
  has(guided, "output_blocks.1.2.out_layers.3.weight", {64, 64, 3, 3});  // doubles it
  has(guided, "output_blocks.3.0.skip_connection.weight", {32, 64, 1, 1});
  has(guided, "label_emb.weight", {3, 128});
  has(guided, "out.2.weight", {6, 32, 3, 3});
  const Tensors song = shapes(kSong);
  has(song, "model.enc.4x4_aux_residual.weight", {8, 3, 3, 3});
  has(song, "model.enc.2x2_aux_residual.weight", {16, 8, 3, 3});
  has(song, "model.enc.4x4_block0.qkv.weight", {48, 16, 1, 1});
  has(song, "model.dec.4x4_block1.norm2.weight", {16});
  has(song, "model.dec.4x4_aux_conv.weight", {3, 16, 3, 3});
  has(song, "model.dec.8x8_up.skip.weight", {16, 16, 1, 1});
  has(song, "model.map_noise.freqs", {4});
  has(song, "model.map_label.weight", {8, 3});
  CHECK_FALSE(song.contains("model.dec.4x4_block0.norm2.weight"));  // once on the way up
  const Tensors adm = shapes(kAdm);
  has(adm, "model.dec.4x4_block0.qkv.weight", {192, 64, 1, 1});
  has(adm, "model.out_conv.weight", {6, 32, 3, 3});
  has(adm, "model.map_label.weight", {128, 3});
  const Tensors dit = shapes(kDit);
  has(dit, "t_embedder.mlp.2.weight", {16, 16});
  has(dit, "y_embedder.embedding_table.weight", {4, 16});
  has(dit, "blocks.1.adaLN_modulation.1.weight", {96, 16});
  has(dit, "final_layer.linear.weight", {32, 16});
}

TEST_CASE("attention's names of older files are understood") {
  const torch::NoGradGuard no_grad;
  const Family family = read_family(kDiffusers);
  const auto first = network_of(family, 1), second = network_of(family, 2);
  Tensors old;
  for (const auto& [name, tensor] : give_weights(family, weights_of(*first))) {
    std::string renamed = name;
    for (const auto& [now, before] : {std::pair{".to_q.", ".query."},
                                      {".to_k.", ".key."},
                                      {".to_v.", ".value."},
                                      {".to_out.0.", ".proj_attn."}})
      if (const size_t at = renamed.find(now); at != std::string::npos)
        renamed.replace(at, std::string(now).size(), before);
    old[renamed] = tensor;
  }
  CHECK(old.contains("mid_block.attentions.0.query.weight"));
  take_weights(family, old, weights_of(*second));
  CHECK(at::equal(output(*first, family), output(*second, family)));
}

TEST_CASE("weights of another network are refused, and what differs is listed") {
  const torch::NoGradGuard no_grad;
  const Family family = read_family(kSong);
  const auto network = network_of(family, 1);
  const Tensors good = give_weights(family, weights_of(*network));
  const auto fault = [&](const Tensors& tensors) {
    return refusal([&] { take_weights(family, tensors, weights_of(*network)); });
  };
  CHECK(fault(good).empty());
  Tensors missing = good;
  missing.erase("model.map_layer0.bias");
  CHECK(says(fault(missing), "missing:\n    model.map_layer0.bias"));
  Tensors more = good;
  more["model.more"] = at::zeros({1});
  CHECK(says(fault(more), "not of this network:\n    model.more"));
  Tensors other = good;
  other["model.map_layer0.bias"] = at::zeros({3});
  CHECK(says(fault(other), "of another shape:\n    model.map_layer0.bias [3], expected [32]"));
  // Filters are constants: the right one may be there, a wrong one may not.
  const std::string filter = "model.enc.4x4_down.conv0.resample_filter";
  REQUIRE(family.constants.contains(filter));
  Tensors constant = good;
  constant[filter] = family.constants.at(filter)().to(at::kFloat);
  CHECK(fault(constant).empty());
  constant[filter] = constant[filter] * 2;
  CHECK(says(fault(constant), filter));
}

TEST_CASE("configurations that are not supported are refused by the field") {
  const auto fault = [](const Json& config) { return refusal([&] { read_family(config); }); };
  CHECK(says(fault({{"_class_name", "UNet3DModel"}}), "'UNet3DModel'"));
  CHECK(says(fault({{"_class_name", 3}}), "is missing"));
  CHECK(says(fault(with(kDiffusers, {{"block_out_channels", Json::array()}})), "got 0"));
  CHECK(says(fault(with(kGuided, {{"num_head_channels", 0}})), "num_head_channels"));
  CHECK(says(fault(with(kSong, {{"channel_mult", {1, int64_t{1} << 60}}})), "channel_mult"));
  CHECK(
      says(fault(with(kDiffusers, {{"down_block_types", {"DownBlock2D", "CrossAttnDownBlock2D"}}})),
           "'CrossAttnDownBlock2D' is not supported"));
  CHECK(says(fault(with(kDiffusers, {{"surprise", 1}})), "unknown option 'surprise'"));
  CHECK(says(fault(with(kDiffusers, {{"sample_size", nullptr}})), "sample_size is null"));
  CHECK(says(fault(with(kDiffusers, {{"layers_per_block", "two"}})), "expected a whole number"));
  CHECK(says(fault(with(kGuided, {{"dims", 3}})), "dims = 3"));
  CHECK(says(fault(with(kGuided, {{"noise_schedule", "square"}})), "linear or cosine"));
  CHECK(says(fault(with(kSong, {{"model_type", "DDPM"}})), "model_type 'DDPM'"));
  CHECK(says(fault(with(kDit, {{"hidden_size", 0}})), "hidden_size"));
  CHECK(says(fault(Json::array()), "expected an object"));
}

TEST_CASE("our U-Net as a configuration of diffusers makes the same network") {
  const torch::NoGradGuard no_grad;
  const Json options = {{"channels", 8},    {"multipliers", {1, 2}}, {"layers_per_block", 1},
                        {"attention", {4}}, {"norm_num_groups", 4},  {"sample_shape", {1, 8, 8}},
                        {"classes", 3}};
  const auto ours = make_unet(options);
  ours->zero_initialised.clear();
  initialise(*ours, 1);
  ours->eval();
  Family family = read_family(write_diffusers_unet(options, "0.30.0"));
  CHECK(family.classes == 4);  // "no class" is one more to diffusers
  const auto theirs = network_of(family, 2);
  take_weights(family, weights_of(*ours), weights_of(*theirs));
  CHECK(at::equal(output(*ours, family), output(*theirs, family)));
  CHECK(says(refusal([&] {
               write_diffusers_unet(
                   with(options, {{"encoder", "skip"}, {"down_resampling", {"resnet"}}}), "0.30.0");
             }),
             "no counterpart of model.down_resampling"));
}

TEST_CASE("a UNetModel's configuration may say what process it was trained for") {
  const Family family = read_family(with(kGuided, {{"diffusion_steps", 4000},
                                                   {"noise_schedule", "cosine"},
                                                   {"predict_xstart", true},
                                                   {"rescale_timesteps", true}}));
  CHECK(family.schedule == Json{{"name", "cosine"}, {"steps", 4000}});
  CHECK(family.model["parameterisation"] == "x0");
  CHECK(family.model["parameterisation_options"] == Json{{"label_scale", 0.25}});
}
