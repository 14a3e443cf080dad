// What is written for ONNX.  That ONNX Runtime computes the same from it is a check of tests/peers.
#include <doctest/doctest.h>

#include <filesystem>

#include "tests/jobs/scratch.h"
#include "tests/refusal.h"
#include "tweedie/base/files.h"
#include "tweedie/jobs/onnx_export.h"
#include "tweedie/registry.h"

using namespace tweedie;
using tweedie::testing::refusal;
using tweedie::testing::says;

namespace {

const DataShape kImages = {{3, 8, 8}, 256, {"shirt", "shoe"}, Json::array()};

Model model_of(const Json& options, bool conditional, const Registry& registry = builtin(),
               const DataShape& shape = kImages) {
  return build_model(make_config({{"model", options}, {"data", {{"conditional", conditional}}}}),
                     shape, registry);
}

/// A network that does one thing.
struct OneOperation : Network {
  std::function<Tensor(const Tensor&)> operation;
  explicit OneOperation(std::function<Tensor(const Tensor&)> given) : operation(std::move(given)) {
    register_parameter("factor", at::ones({1}));
  }
  Tensor forward(const Tensor& x, const Tensor&, const Condition&) override { return operation(x); }
};

std::string refusal_of(const std::function<Tensor(const Tensor&)>& operation) {
  const Scratch folder;
  Model model = model_of({{"network", "dit"}, {"width", 8}, {"depth", 1}, {"heads", 1}}, false);
  model.network = std::make_shared<OneOperation>(operation);
  const std::string message = refusal([&] { export_onnx(model, folder / "model.onnx"); });
  CHECK(std::filesystem::exists(folder / "model.onnx") == message.empty());
  return message;
}

}  // namespace

TEST_CASE("every network is written for ONNX, with its inputs by the names of diffusers") {
  const Scratch folder;
  const Json unet = {{"network", "unet"},
                     {"channels", 8},
                     {"multipliers", {1, 2}},
                     {"layers_per_block", 1},
                     {"norm_num_groups", 4}};
  const auto with = [&](const Json& more) {
    Json out = unet;
    out.update(more);
    return out;
  };
  const std::string path = folder / "model.onnx";
  for (const Json& options :
       {unet, with({{"attention", {4, 8}}, {"fourier_features", {1, 2}}}),
        with({{"resnet_time_scale_shift", "scale_shift"}, {"activation", "gelu"}}),
        with({{"activation", "mish"}}), with({{"activation", "relu"}}),
        with({{"down_resampling", {"resnet"}}, {"up_resampling", {"resnet"}}}),
        with({{"down_resampling", {"resnet"}},
              {"up_resampling", {"resnet"}},
              {"resample_filter", {1, 3, 3, 1}},
              {"encoder", "residual"},
              {"decoder", "skip"},
              {"time_embedding", "fourier"},
              {"residual_divisor", 1.4142}}),
        with({{"class_embedding", "linear"}, {"downsample_padding", 0}}),
        with({{"time_embedding", "learned"}, {"time_steps", 1000}}),
        Json{{"network", "dit"}, {"width", 8}, {"depth", 1}, {"heads", 2}}}) {
    CAPTURE(options.dump());
    for (const bool conditional : {false, true}) {
      const Model model = model_of(options, conditional);
      int64_t values = 0;
      for (const Tensor& parameter : model.network->parameters()) values += parameter.numel();
      const OnnxReport report = export_onnx(model, path);
      CHECK(report.parameters == values);
      CHECK(report.inputs.size() == (conditional ? 3 : 2));
      const std::string bytes = read_file(path);
      CHECK(bytes.size() > 4 * static_cast<size_t>(values));
      for (const char* name : {"sample", "timestep", "out_sample", "tweedie.schedule"})
        CHECK(says(bytes, name));
      CHECK(says(bytes, "class_labels") == conditional);
    }
  }
  export_onnx(
      model_of({{"network", "mlp"}, {"width", 32}}, false, builtin(), {{2}, 0, {}, Json::array()}),
      path);
  CHECK(says(read_file(path), "Gemm"));
  // Half of 7 is 4, twice 4 less the last is 7; 7 frequencies are not the batch.
  export_onnx(model_of(unet, false, builtin(), {{1, 7, 7}, 256, {}, Json::array()}), path);
  CHECK(says(read_file(path), "Slice"));
  export_onnx(model_of({{"network", "mlp"}, {"width", 32}, {"time_channels", 15}}, false, builtin(),
                       {{2}, 0, {}, Json::array()}),
              path);
}

TEST_CASE("the file says what it needs of a schedule that was learned") {
  const Scratch folder;
  const std::string path = folder / "model.onnx";
  const Model model = build_model(
      make_config({{"model", {{"network", "dit"}, {"width", 8}, {"depth", 1}, {"heads", 1}}},
                   {"schedule", {{"name", "learned"}, {"gamma_min", -6}, {"gamma_max", 4}}},
                   {"data", {{"conditional", false}}}}),
      kImages, builtin());
  export_onnx(model, path);
  const std::string file = read_file(path), key = "tweedie.log_snr";
  const size_t begin = file.find('[', file.find(key));
  const Json table = Json::parse(file.substr(begin, file.find(']', begin) + 1 - begin));
  CHECK(table.size() == 2049);
  CHECK(table.front().get<double>() == doctest::Approx(6).epsilon(1e-12));
  CHECK(table.at(512).get<double>() ==
        doctest::Approx(log_snr(model.schedule.at(0.25))).epsilon(1e-12));
  CHECK(table.back().get<double>() == doctest::Approx(-4).epsilon(1e-12));
}

TEST_CASE("what ONNX is not told of is refused by name, and nothing is written") {
  using Operation = std::function<Tensor(const Tensor&)>;
  for (const Operation& known : std::vector<Operation>{
           [](const Tensor& x) { return x.sin() + 2 * x; },
           [](const Tensor& x) { return at::rsub(x, 1) / x.sigmoid(); },
           [](const Tensor& x) {
             return (1 - x) * (2 / (3 + x.sigmoid())) + (1 - at::ones({1}, at::kDouble));
           },
           [](const Tensor& x) { return x.transpose(1, 2); },
           [](const Tensor& x) { return x.narrow(1, 1, 2).slice(2, 1, 3); },
           [](const Tensor& x) {
             return at::constant_pad_nd(x, {1, 0, 0, 2});
           },
           [](const Tensor& x) {
             return x.permute({0, -1, 1, 2}).softmax(-1);
           }})
    CHECK(refusal_of(known) == "");
  CHECK(says(refusal_of([](const Tensor& x) { return x.erfinv(); }), "'aten::erfinv'"));
  CHECK(says(refusal_of([](const Tensor& x) { return at::add(x, x, 2); }), "a sum with a factor"));
  CHECK(says(refusal_of([](const Tensor& x) { return at::rsub(x, x, 2); }), "a sum with a factor"));
  CHECK(says(refusal_of([](const Tensor& x) { return x.div(x, "floor"); }), "the rounding"));
  CHECK(says(refusal_of([](const Tensor& x) { return x.narrow(1, -2, 2); }), "from the end"));
  CHECK(says(refusal_of([](const Tensor& x) { return x.narrow(0, 0, 2); }), "part of the batch"));
  CHECK(says(refusal_of([](const Tensor& x) { return at::avg_pool2d(x, 2, 2, 0, true); }),
             "incomplete squares"));
  CHECK(says(refusal_of([](const Tensor& x) {
               return x + at::arange(x.size(0), at::kDouble).view({-1, 1, 1, 1});
             }),
             "differs along the batch"));
  CHECK(says(refusal_of([](const Tensor& x) {
               return x * at::tensor({1.0, 2.0}, at::kDouble)[0];
             }),
             "torch::tensor()"));
}
