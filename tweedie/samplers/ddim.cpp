#include "tweedie/samplers/ddim.h"

#include <cmath>

#include <torch/utils.h>

#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"

namespace tweedie {

Sampler ddim(DdimOptions options) {
  check(options.eta >= 0 && options.eta <= 1, "ddim: expected eta in [0, 1], got ", options.eta);
  return [options](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
                   const Noise& noise, const Observer& observe) {
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      const Level &t = path[i], &s = path[i + 1];
      check(options.eta == 0 || s.sigma * t.alpha <= t.sigma * s.alpha,
            "ddim: a path from data to noise needs eta = 0, got ", options.eta);
      Tensor x0 = denoiser(x, t, condition).x0;
      if (options.clip) x0 = x0.clamp(-1, 1);
      // Their sigma_t is eta times the root of the posterior's variance; what is left of sigma_s
      // points to x_t.
      const double std = options.eta == 0 ? 0 : options.eta * std::sqrt(posterior(s, t).var);
      const double along = std::sqrt(std::max(0.0, s.sigma * s.sigma - std * std)) / t.sigma;
      Tensor next = along * x + (s.alpha - along * t.alpha) * x0;
      if (std > 0) next = next + std * noise(x, t, s);
      x = next;
      check_finite(x, "ddim", static_cast<int64_t>(i), t);
      if (observe) observe({static_cast<int64_t>(i), t, s, x, x0});
    }
    return x;
  };
}

}  // namespace tweedie
