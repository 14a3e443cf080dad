#include "tweedie/jobs/onnx_export.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include <torch/csrc/jit/frontend/tracer.h>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/jobs/onnx_graph.h"
#include "tweedie/jobs/onnx_translation.h"

namespace tweedie {
namespace {

using torch::jit::Stack;

/// Primes that are no factors of any size of the network.
std::vector<int64_t> recognisable_batches(const Model& model) {
  std::vector<int64_t> out;
  for (const int64_t prime : {7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67}) {
    bool factor = false;
    const auto look = [&](at::IntArrayRef sizes) {
      for (const int64_t size : sizes) factor = factor || (size > 0 && size % prime == 0);
    };
    look(model.data.shape);
    for (const Tensor& parameter : model.network->parameters()) look(parameter.sizes());
    if (!factor) out.push_back(prime);
  }
  check(!out.empty(), "ONNX: every prime up to 67 is a factor of a size of this network");
  out.resize(std::min<size_t>(out.size(), 3));
  return out;
}

const char* const kDescription =
    "out_sample = F(sample, timestep), of a diffusion model by tweedie: sample is c_in x_t, "
    "timestep is c_noise; the metadata says what F predicts and of which schedule.";

/// log_snr(t) of a learned schedule, which has no name to be known by: t = i / (size - 1).
Json log_snr_table(const Schedule& schedule) {
  constexpr int64_t size = 2049;
  Json out = Json::array();
  for (int64_t i = 0; i < size; ++i)
    out.push_back(log_snr(schedule.at(static_cast<double>(i) / (size - 1))));
  return out;
}

/// The file, from a batch of `batch` examples.
std::string onnx_of(const Model& model, int64_t batch, const std::vector<std::string>& names,
                    const std::unordered_map<const void*, std::string>& weights) {
  std::vector<int64_t> sizes = model.data.shape;
  sizes.insert(sizes.begin(), batch);
  Stack inputs = {at::ones(sizes, at::kDouble), at::ones({batch}, at::kDouble)};
  const bool told = names.size() > inputs.size(), context = !model.network->needs_context.empty();
  if (told) {
    std::vector<int64_t> of_condition = model.network->needs_context;
    of_condition.insert(of_condition.begin(), batch);
    inputs.push_back(at::zeros(of_condition, context ? at::kDouble : at::kLong));
  }
  const auto run = [&](const Stack& given) {
    Condition condition;
    if (told) (context ? condition.context : condition.label) = given[2].toTensor();
    return Stack{model.network->forward(given[0].toTensor(), given[1].toTensor(), condition)};
  };
  const auto [trace, outputs] = torch::jit::tracer::trace(
      inputs, run, [](const torch::autograd::Variable&) { return std::string(); });

  OnnxGraph onnx;
  for (size_t i = 0; i < names.size(); ++i) {
    const Tensor given = inputs[i].toTensor();
    onnx.input(names[i], given.is_floating_point() ? at::kFloat : at::kLong, given.sizes().vec());
  }
  onnx.add("Identity", {add_recording({*trace->graph, names, batch, weights}, onnx)}, {},
           "out_sample");
  onnx.output("out_sample", outputs[0].toTensor().sizes().vec());
  const Json& options = model.config.model;
  std::map<std::string, std::string> metadata = {
      {"tweedie.parameterisation", options["parameterisation"].get<std::string>()},
      {"tweedie.parameterisation_options",
       options.value("parameterisation_options", Json::object()).dump()},
      {"tweedie.variance", options.value("variance", "")},
      {"tweedie.schedule", model.config.schedule.dump()},
      {"tweedie.classes", Json(model.data.classes).dump()}};
  if (model.gamma) metadata["tweedie.log_snr"] = log_snr_table(model.schedule).dump();
  return onnx.model(kDescription, metadata);
}

}  // namespace

OnnxReport export_onnx(Model model, const std::string& path) {
  const torch::NoGradGuard no_grad;
  Network& network = *model.network;
  network.eval();
  network.to(at::kDouble);  // computed by LibTorch's operations alone, in every network
  OnnxReport report;
  report.inputs = {"sample", "timestep"};
  if (model.config.data.conditional || network.needs_label || !network.needs_context.empty())
    report.inputs.push_back("class_labels");
  std::unordered_map<const void*, std::string> weights;
  for (auto& parameter : network.named_parameters()) {
    parameter.value().set_requires_grad(false);  // constants of the trace
    weights[parameter.value().data_ptr()] = parameter.key();
    report.parameters += parameter.value().numel();
  }
  const std::vector<int64_t> batches = recognisable_batches(model);
  for (const int64_t batch : batches) {
    try {
      write_file_atomically(path, onnx_of(model, batch, report.inputs, weights));
      return report;
    } catch (const DiffersAlongBatch&) {
      if (batch == batches.back()) throw;
    }
  }
  return report;
}

}  // namespace tweedie
