#include "tweedie/samplers/runge_kutta.h"

#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/samplers/exponential.h"
#include "tweedie/samplers/walk.h"

namespace tweedie {
namespace {

double noise_ratio(const Level& level) { return level.sigma / level.alpha; }

/// The level that churn goes back up to: EDM's sigma_hat = (1 + gamma) sigma.
Level churned(const RungeKuttaOptions& options, const Path& path, const Level& t) {
  const double ratio = noise_ratio(t), steps = static_cast<double>(path.size() - 1);
  if (options.churn == 0 || ratio < options.churn_min || ratio > options.churn_max) return t;
  check(
      bool(path.between),
      "runge_kutta: churn needs the levels between the path's own, which this path does not know");
  const double gamma = std::min(options.churn / steps, std::sqrt(2.0) - 1);
  return path.between(log_snr(t) - 2 * std::log1p(gamma));
}

/// The slope of y in the clock's own variable.
struct StateSlope {
  Tensor value, x0;
};

/// dy/dratio = eps for y = x / alpha.
StateSlope slope_in_ratio(const Denoiser& denoiser, const Tensor& y, const Level& level,
                          const Condition& condition) {
  const Tensor x0 = denoiser(level.alpha * y, level, condition).x0;
  return {(y - x0) / noise_ratio(level), x0};
}

/// dx/dt = d_alpha x0 + d_sigma eps.
StateSlope slope_in_time(const Denoiser& denoiser, const Tensor& x, const Level& level,
                         const Condition& condition) {
  check(!std::isnan(level.d_alpha),
        "runge_kutta: clock 'time' needs a continuous schedule; use "
        "clock=ratio on a chain");
  const Tensor x0 = denoiser(x, level, condition).x0;
  return {level.d_alpha * x0 + level.d_sigma * eps_from_x0(x, x0, level), x0};
}

}  // namespace

Sampler runge_kutta(RungeKuttaOptions options) {
  check(options.order == 1 || options.order == 2, "runge_kutta: expected order 1 or 2, got ",
        options.order);
  check(options.clock == "ratio" || options.clock == "time", "runge_kutta: unknown clock '",
        options.clock, "'", suggestion(options.clock, {"ratio", "time"}));
  check(options.stage > 0 && options.stage <= 1, "runge_kutta: expected stage in (0, 1], got ",
        options.stage);
  check(options.stage == 1 || options.clock == "ratio",
        "runge_kutta: a stage inside the step needs clock=ratio");
  check(options.inner == "even" || options.inner == "geometric", "runge_kutta: unknown inner '",
        options.inner, "'", suggestion(options.inner, {"even", "geometric"}));
  check(options.churn >= 0, "runge_kutta: expected churn >= 0, got ", options.churn);
  return [=](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
             const Noise& noise, const Observer& observe) {
    const bool in_ratio = options.clock == "ratio";
    return walk("runge_kutta", x, path, observe,
                [&](const Tensor& state, const Level& t, const Level& s, int64_t) {
                  if (in_ratio && t.alpha == 0) {  // the ratio is infinite: DDIM's step
                    const Tensor x0 = denoiser(state, t, condition).x0;
                    const StepWeights weights = exponential_step(t, s, Form::x0, {half_log_snr(t)});
                    return Stepped{weights.keep * state + weights.prediction[0] * x0, x0};
                  }
                  const Level from = churned(options, path, t);
                  Tensor y = in_ratio ? state / t.alpha : state;
                  if (from.sigma * t.alpha > t.sigma * from.alpha) {  // noise was added
                    const double scale = in_ratio ? 1 : from.alpha,
                                 added = std::sqrt(noise_ratio(from) * noise_ratio(from) -
                                                   noise_ratio(t) * noise_ratio(t));
                    y = (in_ratio ? y : y * (from.alpha / t.alpha)) +
                        (options.churn_noise * added * scale) * noise(state, from, t);
                  }
                  const auto slope = [&](const Tensor& at, const Level& level) {
                    return in_ratio ? slope_in_ratio(denoiser, at, level, condition)
                                    : slope_in_time(denoiser, at, level, condition);
                  };
                  const double step = in_ratio ? noise_ratio(s) - noise_ratio(from) : s.t - from.t;
                  const StateSlope first = slope(y, from);
                  if (options.order == 1 || s.sigma == 0)
                    return Stepped{(y + step * first.value) * (in_ratio ? s.alpha : 1), first.x0};
                  Level second_level = s;
                  double inner_step = step;
                  if (options.stage < 1) {
                    check(
                        bool(path.between), "runge_kutta: stage ", options.stage,
                        " needs the levels between the path's own, which this path does not know");
                    const double ratio =
                        options.inner == "even"
                            ? noise_ratio(from) + options.stage * step
                            : noise_ratio(from) *
                                  std::pow(noise_ratio(s) / noise_ratio(from), options.stage);
                    second_level = path.between(-2 * std::log(ratio));
                    inner_step = ratio - noise_ratio(from);
                  }
                  const StateSlope second = slope(y + inner_step * first.value, second_level);
                  const double share = 1 / (2 * options.stage);
                  y = y + (step * (1 - share)) * first.value + (step * share) * second.value;
                  return Stepped{in_ratio ? s.alpha * y : y, first.x0};
                });
  };
}

}  // namespace tweedie
