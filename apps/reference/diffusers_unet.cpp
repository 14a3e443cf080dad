#include "diffusers_unet.h"

#include <array>

#include <torch/utils.h>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/nets/unet.h"
#include "tweedie/tensor/safetensors.h"

namespace tweedie::reference {
namespace {

/// UNet2DModel's own defaults where the configuration has no value.
Json with_defaults(const Json& config) {
  Json full = {{"sample_size", Json()},
               {"in_channels", 3},
               {"out_channels", 3},
               {"center_input_sample", false},
               {"time_embedding_type", "positional"},
               {"time_embedding_dim", Json()},
               {"freq_shift", 0},
               {"flip_sin_to_cos", true},
               {"down_block_types",
                {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"}},
               {"mid_block_type", "UNetMidBlock2D"},
               {"up_block_types", {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"}},
               {"block_out_channels", {224, 448, 672, 896}},
               {"layers_per_block", 2},
               {"mid_block_scale_factor", 1},
               {"downsample_padding", 1},
               {"downsample_type", "conv"},
               {"upsample_type", "conv"},
               {"dropout", 0.0},
               {"act_fn", "silu"},
               {"attention_head_dim", 8},
               {"norm_num_groups", 32},
               {"attn_norm_num_groups", Json()},
               {"norm_eps", 1e-5},
               {"resnet_time_scale_shift", "default"},
               {"add_attention", true},
               {"class_embed_type", Json()},
               {"num_class_embeds", Json()},
               {"num_train_timesteps", Json()},
               {"_class_name", "UNet2DModel"},
               {"_diffusers_version", ""}};
  for (const auto& [key, value] : config.items()) full[key] = value;
  return full;
}

Refusal layout(const std::string& what) {
  return "network layout " + what + ": not in this release";
}

/// Stages with attention; refuses any other kind of block, and a way up that does not mirror the
/// way down.
Refusal attention_stages(const Json& full, std::vector<bool>* stages) {
  const Json &down = full["down_block_types"], &up = full["up_block_types"];
  const Refusal unequal = layout("with different blocks on the way down and up");
  if (down.size() != up.size()) return unequal;
  for (size_t i = 0; i < down.size(); ++i) {
    const std::string block = down[i], mirror = up[up.size() - 1 - i];
    const bool attends = block == "AttnDownBlock2D";
    if (!attends && block != "DownBlock2D") return layout(block);
    if (mirror != "UpBlock2D" && mirror != "AttnUpBlock2D") return layout(mirror);
    if (attends != (mirror == "AttnUpBlock2D")) return unequal;
    stages->push_back(attends);
  }
  return {};
}

std::vector<int64_t> sample_shape(const Json& full) {
  const Json size = full["sample_size"];
  if (size.is_array()) return {full["in_channels"], size.at(0), size.at(1)};
  return {full["in_channels"], size, size};
}

}  // namespace

Refusal refused_unet(const Json& config) {
  const Json defaults = with_defaults(Json::object()), full = with_defaults(config);
  std::vector<std::string> known;
  for (const auto& [key, value] : defaults.items()) known.push_back(key);
  const Refusal unknown = unknown_keys("config", full, known);
  if (!unknown.empty()) return unknown;
  for (const char* key : {"center_input_sample", "time_embedding_type", "time_embedding_dim",
                          "mid_block_type", "mid_block_scale_factor", "downsample_type",
                          "upsample_type", "act_fn", "attn_norm_num_groups", "class_embed_type"})
    if (full[key] != defaults[key]) return layout(std::string(key) + " " + full[key].dump());
  if (full["sample_size"].is_null()) return layout("without sample_size");
  std::vector<bool> stages;
  const Refusal blocks = attention_stages(full, &stages);
  if (!blocks.empty()) return blocks;

  const Json& channels = full["block_out_channels"];
  const int64_t first = channels.at(0), in = full["in_channels"], out = full["out_channels"];
  if (!full["norm_num_groups"].is_number_integer()) return layout("without norm_num_groups");
  for (const Json& width : channels) {
    if (width.get<int64_t>() % first != 0)
      return layout("with channels that are no multiples of the first");
    if (full["attention_head_dim"].is_number() &&
        width.get<int64_t>() % full["attention_head_dim"].get<int64_t>() != 0)
      return layout("with channels that do not divide into heads");
  }
  if (out != in && out != 2 * in) return layout("with other channels out than in");
  return {};
}

std::shared_ptr<Network> make_diffusers_unet(const Json& config, at::ScalarType type) {
  const Json full = with_defaults(config);
  std::vector<bool> stages;
  attention_stages(full, &stages);
  const std::vector<int64_t> shape = sample_shape(full);
  std::vector<int64_t> multipliers, attention;
  int64_t height = shape[1];
  for (size_t i = 0; i < stages.size(); ++i) {
    multipliers.push_back(full["block_out_channels"][i].get<int64_t>() /
                          full["block_out_channels"][0].get<int64_t>());
    if (stages[i]) attention.push_back(height);
    // As our U-Net counts: rounded up, or down where only two sides are padded.
    height = full["downsample_padding"] == 0 ? height / 2 : (height + 1) / 2;
  }
  const auto or_zero = [&](const char* key) {
    return full[key].is_null() ? int64_t{0} : full[key].get<int64_t>();
  };
  const Json options = {{"channels", full["block_out_channels"][0]},
                        {"multipliers", multipliers},
                        {"layers_per_block", full["layers_per_block"]},
                        {"attention", attention},
                        {"mid_attention", full["add_attention"]},
                        {"attention_head_dim", or_zero("attention_head_dim")},
                        {"norm_num_groups", full["norm_num_groups"]},
                        {"norm_eps", full["norm_eps"]},
                        {"dropout", full["dropout"]},
                        {"resnet_time_scale_shift", full["resnet_time_scale_shift"]},
                        {"downsample_padding", full["downsample_padding"]},
                        {"flip_sin_to_cos", full["flip_sin_to_cos"]},
                        {"freq_shift", full["freq_shift"]},
                        {"sample_shape", shape},
                        // Our last embedding is "no class"; theirs has no such meaning.
                        {"classes", std::max<int64_t>(0, or_zero("num_class_embeds") - 1)},
                        {"learned_variance", full["out_channels"] != full["in_channels"]}};
  const std::shared_ptr<Network> network = make_unet(options);
  network->to(type);
  network->eval();
  return network;
}

void load_weights(Network& network, const std::string& path) {
  const torch::NoGradGuard no_grad;
  static constexpr std::array<std::pair<const char*, const char*>, 4> kOldNames = {
      {{".query.", ".to_q."},
       {".key.", ".to_k."},
       {".value.", ".to_v."},
       {".proj_attn.", ".to_out.0."}}};
  auto parameters = network.named_parameters();
  size_t copied = 0;
  for (const auto& [stored, tensor] : read_safetensors(path).tensors) {
    std::string name = stored;
    for (const auto& [old, now] : kOldNames)
      if (const size_t at = name.find(old); at != std::string::npos)
        name.replace(at, std::string(old).size(), now);
    Tensor* const parameter = parameters.find(name);
    check(parameter != nullptr, path, ": our network has no parameter '", name, "'");
    check(parameter->sizes() == tensor.sizes(), path, ": '", name, "' has shape ", tensor.sizes(),
          ", ours ", parameter->sizes());
    parameter->copy_(tensor);
    ++copied;
  }
  check(copied == parameters.size(), path, ": has ", copied, " of our network's ",
        parameters.size(), " parameters");
}

Json read_json(const std::string& path) {
  const Json json = Json::parse(read_file(path), nullptr, false);
  check(!json.is_discarded(), path, ": is no JSON");
  return json;
}

}  // namespace tweedie::reference
