#include "tweedie/jobs/exchange.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <map>

#include "tests/jobs/scratch.h"
#include "tests/refusal.h"
#include "tweedie/base/files.h"
#include "tweedie/families/family.h"
#include "tweedie/jobs/describe.h"
#include "tweedie/jobs/foreign_model.h"
#include "tweedie/jobs/sample.h"
#include "tweedie/tensor/random.h"
#include "tweedie/tensor/safetensors.h"

using namespace tweedie;
using tweedie::testing::refusal;
using tweedie::testing::says;

namespace {

RunConfig small_unet(const Json& more = Json::object()) {
  Json config = {{"model",
                  {{"network", "unet"},
                   {"channels", 8},
                   {"multipliers", {1, 2}},
                   {"layers_per_block", 1},
                   {"norm_num_groups", 4},
                   {"zero_init", false}}},
                 {"data", {{"conditional", true}}}};
  config.merge_patch(more);
  return make_config(config);
}

const DataShape kShape = {{1, 8, 8}, 256, {"shirt", "shoe"}, Json::array()};

Tensor sampled(const Model& model, const Tensor& noise, const Json& options = Json::object()) {
  SampleRequest request;
  request.count = noise.size(0);
  request.noise = noise;
  request.steps = 4;
  request.sampler = "ddim";
  request.path = "trailing";
  request.sampler_options = options;
  request.precision = "fp32";
  return sample(model, builtin(), request).x;
}

}  // namespace

TEST_CASE("a model goes out as a pipeline of diffusers, comes back, and draws the same samples") {
  const Scratch folder;
  const Registry registry = builtin();
  for (const Json& more : {Json::object(), Json{{"model", {{"fourier_features", {1, 2}}}}}}) {
    const bool plain = more.empty();
    const Model model = build_model(small_unet(more), kShape, registry);
    const std::string out = folder / (plain ? "plain" : "fourier");
    const ExchangeReport report = export_model(model, out, registry);
    CHECK(report.difference == 0);
    CHECK(report.largest > 0);
    CHECK(is_foreign_model(out));
    const Model back = load_model(out, registry);
    CHECK(back.data.classes == kShape.classes);
    CHECK(back.config.sample.sampler == "ddim");
    const Tensor noise = keyed_normal({3, Stream::data}, {0, 1}, 0, {1, 8, 8});
    CHECK(at::allclose(sampled(model, noise, {{"clip", false}}), sampled(back, noise), 1e-5, 1e-5));
    const Json said = describe(out);
    CHECK(said["kind"] == "diffusers UNet2DModel");
    CHECK(says(refusal([&] { export_model(model, out, registry); }), "exists already"));
  }
}

TEST_CASE("a continuous process goes out as the chain that its network is told of") {
  const Scratch folder;
  const Registry registry = builtin();
  const Model model = build_model(small_unet({{"schedule", {{"name", "log-snr-linear"}}},
                                              {"model", {{"parameterisation", "v"}}}}),
                                  kShape, registry);
  export_model(model, folder / "out", registry);
  const Model back = load_model(folder / "out", registry);
  REQUIRE(back.schedule.steps == 1001);
  for (const int64_t k : {200, 500, 1000}) {
    const Level chain = back.schedule.at(static_cast<double>(k + 1) / 1001);
    const Level curve = model.schedule.at(static_cast<double>(k) / 1000);
    CHECK(log_snr(chain) == doctest::Approx(log_snr(curve)).epsilon(1e-3));
    CHECK(back.parameterisation(chain).c_noise ==
          doctest::Approx(model.parameterisation(curve).c_noise));
  }
}

TEST_CASE("an imported file is the model that it was made of, and goes out as it came in") {
  const Scratch folder;
  const Registry registry = builtin();
  export_model(build_model(small_unet(), kShape, registry), folder / "first", registry);
  const ExchangeReport report = import_model(folder / "first", folder / "model.safetensors",
                                             {{"sample", {{"steps", 7}}}}, registry);
  CHECK(report.difference == 0);
  const Model model = load_model(folder / "model.safetensors", registry);
  CHECK(model.config.sample.steps == 7);
  export_model(model, folder / "second", registry);
  for (const char* file : {"scheduler/scheduler_config.json", "unet/config.json"}) {
    CAPTURE(file);
    CHECK(parse_json(read_file(folder / (std::string("first/") + file))) ==
          parse_json(read_file(folder / (std::string("second/") + file))));
  }
  CHECK(says(refusal([&] {
               import_model(folder / "model.safetensors", folder / "x.safetensors", {}, registry);
             }),
             "of ours already"));
}

TEST_CASE("what cannot be exported says why, and leaves nothing behind") {
  const Scratch folder;
  const Registry registry = builtin();
  const Model flow = build_model(
      small_unet({{"schedule", {{"name", "flow"}}}, {"model", {{"parameterisation", "velocity"}}}}),
      kShape, registry);
  CHECK(says(refusal([&] { export_model(flow, folder / "out", registry); }), "keep the variance"));
  CHECK(std::filesystem::is_empty(folder / "."));
}

TEST_CASE("sharded weights are read by their index; a damaged index and NaN are refused") {
  const Scratch folder;
  const Registry registry = builtin();
  const std::string out = folder / "out";
  export_model(build_model(small_unet(), kShape, registry), out, registry);
  const std::string whole = out + "/unet/diffusion_pytorch_model.safetensors";
  const TensorFile file = read_safetensors(whole);
  Json map = Json::object();
  TensorFile parts[2];
  for (const auto& [name, tensor] : file.tensors) {
    const size_t part = map.size() % 2;
    parts[part].tensors[name] = tensor.clone();
    map[name] = part == 0 ? "a.safetensors" : "b.safetensors";
  }
  write_safetensors(out + "/unet/a.safetensors", parts[0]);
  write_safetensors(out + "/unet/b.safetensors", parts[1]);
  const std::string index = out + "/unet/diffusion_pytorch_model.safetensors.index.json";
  write_file_atomically(index, Json{{"weight_map", map}}.dump());
  std::filesystem::remove(whole);
  CHECK(read_weights(index).tensors.size() == file.tensors.size());
  const std::string variant = out + "/unet/diffusion_pytorch_model.safetensors.index.fp16.json";
  std::filesystem::rename(index, variant);  // as save_pretrained(variant="fp16") names it
  load_model(out, registry);
  std::filesystem::remove(variant);
  CHECK(says(refusal([&] { load_model(out, registry); }), "a configuration but no weights"));
  write_safetensors(out + "/unet/diffusion_pytorch_model.fp16.safetensors", file);
  load_model(out, registry);
  std::filesystem::remove(out + "/unet/diffusion_pytorch_model.fp16.safetensors");
  std::filesystem::rename(out + "/scheduler", out + "/elsewhere");
  CHECK(says(refusal([&] { load_model(out, registry); }), "model_index.json has a scheduler"));
  std::filesystem::rename(out + "/elsewhere", out + "/scheduler");

  map["conv_in.bias"] = "../../etc/passwd";
  write_file_atomically(index, Json{{"weight_map", map}}.dump());
  CHECK(says(refusal([&] { read_weights(index); }), "is no file beside the index"));
  std::filesystem::remove(index);
  TensorFile broken = file;
  broken.tensors["conv_in.bias"] = at::full({8}, std::nan(""));
  write_safetensors(whole, broken);
  CHECK(says(refusal([&] { load_model(out, registry); }), "'conv_in.bias'"));
}

TEST_CASE(
    "a file of weights is described by its names where no configuration of a known network is") {
  const Scratch folder;
  const Registry registry = builtin();
  export_model(build_model(small_unet(), kShape, registry), folder / "out", registry);
  const std::string weights = folder / "out/unet/diffusion_pytorch_model.safetensors",
                    config = folder / "out/unet/config.json";
  CHECK(describe(weights)["kind"] == "diffusers UNet2DModel");
  write_file_atomically(config, R"({"_class_name": "UNet2DConditionModel"})");
  const Json other = describe(weights);
  CHECK(other["kind"] == "weights of diffusers UNet2DModel");
  CHECK(says(other["note"], "UNet2DConditionModel"));
  std::filesystem::remove(config);
  const Json alone = describe(weights);
  CHECK(alone["kind"] == "weights of diffusers UNet2DModel");
  CHECK(alone["config"]["block_out_channels"] == Json{8, 16});
  CHECK(alone["bytes"] == std::filesystem::file_size(weights));
  CHECK(alone["metadata"].is_object());
}

TEST_CASE("a scheduler does not undo what the network's configuration says of its steps") {
  const Scratch folder;
  const std::string out = folder / "pipeline";
  for (const char* part : {"", "/unet", "/scheduler"})
    std::filesystem::create_directory(out + part);
  write_file_atomically(out + "/model_index.json", R"({"unet": ["", "UNetModel"]})");
  write_file_atomically(out + "/unet/model.bin", "not read here");
  const auto parameterisation = [&](const std::string& scheduler) {
    write_file_atomically(out + "/unet/config.json",
                          R"({"_class_name": "UNetModel", "image_size": 8, "diffusion_steps": 4000,
                              "rescale_timesteps": true, "predict_xstart": true})");
    write_file_atomically(out + "/scheduler/scheduler_config.json", scheduler);
    return open_foreign_model(out).config.model;
  };
  const Json model = parameterisation(R"({"_class_name": "DDIMScheduler"})");
  CHECK(model["parameterisation"] == "x0");
  CHECK(model["parameterisation_options"]["label_scale"] == 0.25);
  CHECK(says(refusal([&] {
               parameterisation(
                   R"({"_class_name": "DDIMScheduler", "prediction_type": "epsilon"})");
             }),
             "predicts x0"));
}

namespace {

/// A folder of diffusers whose network is told of each sample as `class_embed_type` says.
std::string told_by(const Scratch& folder, const char* class_embed_type) {
  const Model model = build_model(
      small_unet({{"model", {{"class_embedding", class_embed_type}, {"null_class", false}}},
                  {"data", {{"conditional", false}}}}),
      kShape, builtin());
  TensorFile weights;
  for (const auto& parameter : model.network->named_parameters())
    weights.tensors[parameter.key()] = parameter.value().detach();
  Json options = {
      {"channels", 8}, {"multipliers", {1, 2}}, {"layers_per_block", 1},    {"norm_num_groups", 4},
      {"classes", 0},  {"null_class", false},   {"sample_shape", {1, 8, 8}}};
  Json config = write_diffusers_unet(options, "0.30.0");
  config["class_embed_type"] = class_embed_type;
  const std::string out = folder / class_embed_type;
  std::filesystem::create_directory(out);
  write_file_atomically(out + "/config.json", config.dump());
  write_safetensors(out + "/diffusion_pytorch_model.safetensors", weights);
  return out;
}

Tensor told(const Model& model, const Tensor& condition) {
  SampleRequest request;
  request.count = 2;
  request.batch = 1;  // of each sample its own
  request.steps = 2;
  request.condition = condition;
  return sample(model, builtin(), request).x;
}

}  // namespace

TEST_CASE("a network that must be told a number or an embedding of each sample is told it") {
  const Scratch folder;
  const Registry registry = builtin();
  const std::map<std::string, std::vector<Tensor>> conditions = {
      {"timestep", {torch::tensor({3, 700}), torch::tensor({3, 20})}},
      {"identity", {at::ones({2, 32}), at::cat({at::ones({1, 32}), at::zeros({1, 32})})}}};
  for (const auto& [type, given] : conditions) {
    CAPTURE(type);
    const std::string from = told_by(folder, type.c_str());
    const Model model = load_model(from, registry);
    const Tensor first = told(model, given[0]), second = told(model, given[1]);
    CHECK(at::equal(first[0], second[0]));
    CHECK_FALSE(at::allclose(first[1], second[1], 1e-4, 1e-4));
    CHECK(says(refusal([&] { told(model, {}); }), "pass --condition FILE.npy"));
    CHECK(says(refusal([&] { told(model, given[0].narrow(0, 0, 1)); }), "condition has shape"));
    CHECK(says(refusal([&] { told(model, given[0] == 0); }), type == "identity" ? "type" : "Bool"));
    const ExchangeReport report =
        import_model(from, folder / (type + ".safetensors"), Json::object(), registry);
    CHECK(report.difference == 0);
    CHECK(report.largest > 0);
  }
  const Model unconditional =
      build_model(small_unet({{"data", {{"conditional", false}}}}), kShape, registry);
  CHECK(says(refusal([&] { told(unconditional, torch::tensor({0, 1})); }), "nothing but noise"));
  const Model classes = build_model(small_unet(), kShape, registry);
  CHECK(says(refusal([&] { told(classes, torch::tensor({0, 5})); }), "5"));
  CHECK(says(refusal([&] { told(classes, at::ones({2})); }), "labels, whole numbers"));
}
