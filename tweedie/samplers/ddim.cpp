#include "tweedie/samplers/ddim.h"

#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"
#include "tweedie/samplers/walk.h"

namespace tweedie {

Sampler ddim(DdimOptions options) {
  check(options.eta >= 0 && options.eta <= 1, "ddim: expected eta in [0, 1], got ", options.eta);
  return [options](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
                   const Noise& noise, const Observer& observe) {
    return walk(
        "ddim", x, path, observe,
        [&](const Tensor& state, const Level& t, const Level& s, int64_t) {
          check(options.eta == 0 || s.sigma * t.alpha <= t.sigma * s.alpha,
                "ddim: a path from data to noise needs eta = 0, got ", options.eta);
          const Tensor raw = denoiser(state, t, condition).x0;
          const Tensor x0 = options.clip ? raw.clamp(-1, 1) : raw;
          // Their sigma_t is eta times the root of the posterior's variance; what is left of
          // sigma_s points to x_t.
          const double std = options.eta == 0 ? 0 : options.eta * std::sqrt(posterior(s, t).var);
          const double along = std::sqrt(std::max(0.0, s.sigma * s.sigma - std * std)) / t.sigma;
          Tensor next = options.clip_noise || !options.clip
                            ? (along * state).add_(x0, s.alpha - along * t.alpha)
                            : (along * state).add_(raw, -along * t.alpha).add_(x0, s.alpha);
          if (std > 0) next.add_(noise(state, t, s), std);
          return Stepped{next, x0};
        });
  };
}

}  // namespace tweedie
