#include <cmath>

#include "tweedie/jobs/evaluation_data.h"

namespace tweedie {

std::string decoder_name(const Model& model, const std::string& asked) {
  if (!asked.empty()) return asked;
  if (model.data.levels == 0) return "gaussian";
  return model.schedule.steps > 0 || model.data.levels > kMostSoftmaxLevels ? "discretised"
                                                                            : "softmax";
}

Decoder decoder_named(const std::string& name, int64_t levels, Variance variance,
                      const Path& path) {
  return decoder_with_variance(name, levels, decoder_variance(path), variance == Variance::learned);
}

Decoder decoder_with_variance(const std::string& name, int64_t levels, double variance,
                              bool learned) {
  check(name == "gaussian" || levels > 0, "evaluate: decoder '", name,
        "' is for data with countable values; this data is continuous, use gaussian");
  if (name == "discretised") return discretised_gaussian_decoder(levels, variance, learned);
  if (name == "softmax") return softmax_decoder(levels);
  check(name == "gaussian", "evaluate: unknown decoder '", name, "'",
        suggestion(name, {"discretised", "softmax", "gaussian"}));
  check(levels == 0, "evaluate: decoder 'gaussian' gives a density, but this data has ", levels,
        " countable values; use discretised or softmax");
  return gaussian_decoder(variance, learned);
}

Tensor dequantised_nats(const Tensor& log_density, int64_t dims, int64_t levels) {
  check(levels >= 2, "dequantisation: needs data of at least 2 values, got ", levels);
  return -log_density - static_cast<double>(dims) * std::log(2 / static_cast<double>(levels - 1));
}

X0Variance measured_x0_variance(const Model& model, const Dataset& data, const Path& path,
                                int64_t limit, uint64_t seed) {
  const torch::NoGradGuard no_grad;
  EvaluateRequest request;
  request.limit = limit;
  request.seed = seed;
  std::vector<double> sums(path.size());
  double count = 0;
  for_each_batch(model, data, request, 64, [&](const EvaluationBatch& batch) {
    const Noise noise = noise_of(request, batch.indices, Stream::evaluation);
    for (size_t i = 0; i < path.size(); ++i) {
      if (path[i].sigma == 0) continue;
      const Tensor x_t = diffuse(batch.x0, path[i], noise(batch.x0, path[i], path[i]));
      const Tensor error = model.denoiser(x_t, path[i], batch.condition).x0 - batch.x0;
      sums[i] += error.to(at::kDouble).square().flatten(1).mean(1).sum().item<double>();
    }
    count += static_cast<double>(batch.indices.size());
  });
  std::map<double, double> variance;  // by t
  for (size_t i = 0; i < path.size(); ++i) variance[path[i].t] = sums[i] / count;
  return [variance](const Level& level) {
    const auto found = variance.find(level.t);
    check(found != variance.end(), "analytic variance: was not measured at t = ", level.t);
    return found->second;
  };
}

}  // namespace tweedie
