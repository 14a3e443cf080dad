#include "tweedie/samplers/ddpm.h"

#include <cmath>

#include <torch/utils.h>

#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

Variance resolve(const std::string& name, const Prediction& prediction) {
  if (name == "auto") return prediction.var_mix.defined() ? Variance::learned : Variance::large;
  return name == "small"     ? Variance::small
         : name == "large"   ? Variance::large
         : name == "learned" ? Variance::learned
                             : Variance::analytic;
}

}  // namespace

Sampler ddpm(DdpmOptions options) {
  const std::vector<std::string> known = {"auto", "small", "large", "learned", "analytic"};
  check(std::find(known.begin(), known.end(), options.variance) != known.end(),
        "ddpm: unknown variance '", options.variance, "'", suggestion(options.variance, known));
  check(options.variance != "analytic" || options.x0_variance,
        "ddpm: the analytic variance is measured on data by a program that has it; use small or "
        "large here");
  return [options](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
                   const Noise& noise, const Observer& observe) {
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      const Level &t = path[i], &s = path[i + 1];
      Prediction prediction = denoiser(x, t, condition);
      if (options.clip) prediction.x0 = prediction.x0.clamp(-1, 1);
      const Posterior q = posterior(s, t);
      Tensor next = q.c_x * x + q.c_x0 * prediction.x0;
      if (s.sigma > 0) {
        const Tensor log_variance = reverse_log_variance(
            prediction, x, s, t, resolve(options.variance, prediction), options.x0_variance);
        next = next + (0.5 * log_variance).exp() * noise(x, t, s);
      }
      x = next;
      check_finite(x, "ddpm", static_cast<int64_t>(i), t);
      if (observe) observe({static_cast<int64_t>(i), t, s, x, prediction.x0});
    }
    return x;
  };
}

}  // namespace tweedie
