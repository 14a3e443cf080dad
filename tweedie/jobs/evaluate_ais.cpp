#include <algorithm>
#include <cmath>

#include "tweedie/jobs/evaluation_data.h"
#include "tweedie/model/ais.h"
#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

/// The model's learned variance, else the large one: with the small one the weights' variance does
/// not vanish.
std::string variance_or_default(const Model& model, const EvaluateRequest& request) {
  if (!request.variance.empty()) return request.variance;
  return model.variance == Variance::learned ? "learned" : "large";
}

/// Of the last step, to clean data, as the other steps have it.
double last_variance(const Path& path, Variance variance, const EvaluateRequest& request) {
  const Level& first = path.back();
  if (variance == Variance::analytic) return request.x0_variance(first);
  if (variance == Variance::large) {
    const double ratio = first.sigma / first.alpha;
    return ratio * ratio;
  }
  return decoder_variance(path);
}

/// Variance of the log of the mean weight, to first order: that of the mean over its square.
Tensor variance_of_log_mean(const Tensor& effective_paths, int64_t paths) {
  const double k = static_cast<double>(paths);
  if (paths == 1) return at::full_like(effective_paths, std::nan(""));
  return (1 / effective_paths - 1 / k) * (k / (k - 1));
}

}  // namespace

Evaluation evaluate_ais(const Model& model, const Dataset& data, const EvaluateRequest& request) {
  const auto started = std::chrono::steady_clock::now();
  check_request(model, data, request);
  const int64_t paths = paths_of(request, 8);
  const std::string name = variance_or_default(model, request);
  const Variance variance = variance_named(model, request, name);
  const int64_t steps = path_steps_of(model, request);
  const Path path = bound_path(model.schedule, steps);
  const std::string decoder = decoder_name(model, request.decoder);
  const Decoder last = decoder_with_variance(
      decoder, data.levels, last_variance(path, variance, request), variance == Variance::learned);

  Evaluation out;
  out.settings = common_settings(
      model, data, request, "ais", "bound",
      "minus the log of the mean weight of `paths` paths, an upper bound on -log p(x) that falls "
      "to it with more paths: lower is better");
  out.settings["t_min"] = path.back().t;
  out.settings["path_steps"] = steps;
  out.settings["paths"] = paths;
  out.settings["decoder"] = decoder;
  out.settings["variance"] = name;

  const torch::NoGradGuard no_grad;
  const int64_t size = std::max<int64_t>(1, request.batch / paths);
  for_each_batch(model, data, request, size, [&](const EvaluationBatch& batch) {
    std::vector<int64_t> keys;
    for (const int64_t index : batch.indices)
      for (int64_t k = 0; k < paths; ++k) keys.push_back(key_of_copy(index, k));
    const AisWeights weights = ais(model.denoiser, path, last, batch.x0, batch.condition,
                                   noise_of(request, std::move(keys), Stream::paths),
                                   {.variance = variance,
                                    .x0_variance = request.x0_variance,
                                    .prior_std = model.schedule.prior_std,
                                    .paths = paths});
    const AisEstimate estimate = ais_estimate(weights.log_weights);
    out.table.add_rows(batch.indices);
    out.table.add("nats", class_nats(model) - estimate.iwae);
    out.table.add("path_variance", variance_of_log_mean(estimate.effective_paths, paths));
    for (int64_t k = 0; k < paths; ++k)
      out.table.add(log_weight_column(k), weights.log_weights.select(1, k));
    out.settings["evaluations"] = weights.evaluations;
  });
  out.seconds = seconds_since(started);
  summarise(out);
  return out;
}

}  // namespace tweedie
