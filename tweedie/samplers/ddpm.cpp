#include "tweedie/samplers/ddpm.h"

#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"
#include "tweedie/samplers/walk.h"

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
    return walk("ddpm", x, path, observe,
                [&](const Tensor& state, const Level& t, const Level& s, int64_t) {
                  Prediction prediction = denoiser(state, t, condition);
                  if (options.clip) prediction.x0 = prediction.x0.clamp(-1, 1);
                  const Posterior q = posterior(s, t);
                  Tensor next = (q.c_x * state).add_(prediction.x0, q.c_x0);
                  if (s.sigma > 0) {
                    const Tensor log_variance = reverse_log_variance(
                        prediction, state, s, t, resolve(options.variance, prediction),
                        options.x0_variance);
                    next.addcmul_((0.5 * log_variance).exp(), noise(state, t, s));
                  }
                  return Stepped{next, prediction.x0};
                });
  };
}

}  // namespace tweedie
