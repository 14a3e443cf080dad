#include "tweedie/model/ais.h"

#include <cmath>
#include <cstdio>
#include <numbers>

#include "tweedie/base/error.h"
#include "tweedie/model/ode.h"
#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

const double kLogTwoPi = std::log(2 * std::numbers::pi);

Tensor repeated(const Tensor& values, int64_t times) {
  return values.defined() ? values.repeat_interleave(times, 0) : values;
}

/// log N(sd eps; 0, sd^2) of each row [B].
Tensor log_density_of_noise(const Tensor& eps, double std) {
  return sum_over_dims(-0.5 * (eps.square() + kLogTwoPi)) -
         static_cast<double>(eps[0].numel()) * std::log(std);
}

/// log N(x_s; mean, exp(log_var)) of each row [B], log_var broadcastable to x_s.
Tensor log_density(const Tensor& x_s, const Tensor& mean, const Tensor& log_var) {
  return sum_over_dims(-0.5 * ((x_s - mean).square() * (-log_var).exp() + log_var + kLogTwoPi));
}

}  // namespace

AisWeights ais(const Denoiser& denoiser, const Path& path, const Decoder& decoder, const Tensor& x0,
               const Condition& condition, const Noise& noise, const AisOptions& options) {
  check(!path.empty() && path.front().sigma > 0, "ais: the path has no noisy level");
  check(x0.dim() >= 2 && x0.size(0) >= 1,
        "ais: expected examples [B, ...], at least one, got shape ", x0.sizes());
  check(options.paths >= 1, "ais: expected 1 path or more for each example, got ", options.paths);
  const int64_t last =
      static_cast<int64_t>(path.size()) - (path.back().sigma == 0 ? 2 : 1);  // of the decoder
  const Tensor data = repeated(x0, options.paths);
  const Condition conditions{repeated(condition.label, options.paths),
                             repeated(condition.context, options.paths)};
  const auto predict = [&](const Tensor& x_t, const Level& level) {
    return denoiser(x_t.to(x0.scalar_type()), level, conditions);
  };

  const Level& first = path[static_cast<size_t>(last)];
  Tensor eps = noise(data, first, clean).to(at::kDouble);
  Tensor x_s = first.alpha * data.to(at::kDouble) + first.sigma * eps;
  Tensor log_w = decoder(predict(x_s, first), x_s, first, data).to(at::kDouble) -
                 log_density_of_noise(eps, first.sigma);
  for (int64_t i = last; i > 0; --i) {
    const Level &s = path[static_cast<size_t>(i)], &t = path[static_cast<size_t>(i - 1)];
    const Posterior q = posterior(s, t);
    eps = noise(data, t, s).to(at::kDouble);
    const Tensor x_t = t.alpha / s.alpha * x_s + std::sqrt(q.var_large) * eps;
    const Prediction prediction = predict(x_t, t);
    const Tensor mean = q.c_x * x_t + q.c_x0 * prediction.x0.to(at::kDouble);
    const Tensor log_var =
        reverse_log_variance(prediction, x_t, s, t, options.variance, options.x0_variance);
    log_w = log_w + log_density(x_s, mean, log_var.expand_as(x_s)) -
            log_density_of_noise(eps, std::sqrt(q.var_large));
    x_s = x_t;
  }
  log_w = log_w.cpu() + normal_log_density(x_s, options.prior_std);
  return {log_w.view({x0.size(0), options.paths}), (last + 1) * options.paths};
}

Tensor importance_bound(const Tensor& log_weights, int64_t k) {
  const int64_t paths = log_weights.size(1);
  check(k >= 1 && k <= paths, "importance_bound: groups of ", k, " of ", paths,
        " weights; expected from 1 to ", paths);
  const Tensor groups = log_weights.slice(1, 0, paths / k * k).reshape({-1, paths / k, k});
  return (groups.logsumexp(2) - std::log(static_cast<double>(k))).mean(1);
}

AisEstimate ais_estimate(const Tensor& log_weights) {
  const int64_t paths = log_weights.size(1);
  const Tensor total = log_weights.logsumexp(1), total_squares = (2 * log_weights).logsumexp(1);
  return {log_weights.mean(1), importance_bound(log_weights, paths),
          paths > 1 ? log_weights.var(1) : at::full_like(total, std::nan("")),
          (2 * total - total_squares).exp()};
}

std::string ais_advice(const AisEstimate& estimate, int64_t paths, Variance variance) {
  if (paths == 1)
    return "one path says nothing of the weights' variance: pass --paths 8 or more to see it";
  const double spread = estimate.variance.mean().item<double>(),
               share = estimate.effective_paths.mean().item<double>() / static_cast<double>(paths);
  char text[320];
  std::snprintf(text, sizeof text,
                "Var(log w) is %.3g nats^2 and %.0f%% of the paths count: ", spread, 100 * share);
  const std::string found = text;
  if (spread <= 0.1)
    return found +
           "one path is enough; a different model would gain more than more levels or paths";
  if (variance == Variance::small)
    return found +
           "the small variance keeps it from falling with more levels; use large, analytic or "
           "learned";
  if (spread <= 4)
    return found +
           "more paths tighten the bound, by about half the variance in all; more levels "
           "lower it";
  return found +
         "too much for more paths to help (their number would have to grow as its exponential): "
         "use more levels, or analytic or learned variance";
}

}  // namespace tweedie
