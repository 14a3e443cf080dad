#include "tweedie/samplers/renoise.h"

#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/samplers/walk.h"

namespace tweedie {

Sampler renoise(RenoiseOptions options) {
  check(options.fresh >= 0 && options.fresh <= 1, "renoise: expected fresh in [0, 1], got ",
        options.fresh);
  return [options](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
                   const Noise& noise, const Observer& observe) {
    return walk("renoise", x, path, observe,
                [&](const Tensor& state, const Level& t, const Level& s, int64_t) {
                  const Tensor x0 = denoiser(state, t, condition).x0;
                  Tensor next = s.alpha * x0;
                  if (options.fresh < 1)
                    next.add_(eps_from_x0(state, x0, t), s.sigma * std::sqrt(1 - options.fresh));
                  if (options.fresh > 0 && s.sigma > 0)
                    next.add_(noise(state, t, s), s.sigma * std::sqrt(options.fresh));
                  return Stepped{next, x0};
                });
  };
}

}  // namespace tweedie
