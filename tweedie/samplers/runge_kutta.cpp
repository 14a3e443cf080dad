#include "tweedie/samplers/runge_kutta.h"

#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/samplers/exponential.h"
#include "tweedie/samplers/walk.h"

namespace tweedie {
namespace {

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

/// The state at the level that churn goes up to, with its noise.
Tensor churned_state(const RungeKuttaOptions& options, const Tensor& x, const Level& t,
                     const Level& from, const Noise& noise) {
  if (from.sigma * t.alpha <= t.sigma * from.alpha) return x;
  const double added =
      std::sqrt(noise_ratio(from) * noise_ratio(from) - noise_ratio(t) * noise_ratio(t));
  return ((from.alpha / t.alpha) * x)
      .add_(noise(x, from, t), options.churn_noise * added * from.alpha);
}

/// Where the second evaluation is.
Level second_level(const RungeKuttaOptions& options, const Path& path, const Level& from,
                   const Level& s) {
  if (options.stage == 1) return s;
  check(bool(path.between), "runge_kutta: stage ", options.stage,
        " needs the levels between the path's own, which this path does not know");
  const double first = noise_ratio(from), last = noise_ratio(s);
  const double ratio = options.inner == "even" ? first + options.stage * (last - first)
                                               : first * std::pow(last / first, options.stage);
  return path.between(-2 * std::log(ratio));
}

/// Euler's step of y = x / alpha, whose slope in sigma / alpha is eps: keep x + weight x0.  It is
/// DDIM's, and defined from pure noise too.
struct EulerWeights {
  double keep, weight;
};

EulerWeights euler_weights(const Level& from, const Level& s) {
  const StepWeights weights = exponential_step(from, s, Form::x0, {half_log_snr(from)});
  return {weights.keep, weights.prediction[0]};
}

Tensor euler_step(const EulerWeights& step, const Tensor& x, const Tensor& x0) {
  return (step.keep * x).add_(x0, step.weight);
}

/// A step straight in sigma / alpha, of order 2 with the prediction at the level `middle` too.
Stepped step_in_ratio(const RungeKuttaOptions& options, const Denoiser& denoiser, const Tensor& x,
                      const Level& from, const Level& s, const Path& path,
                      const Condition& condition) {
  const Tensor first = denoiser(x, from, condition).x0;
  if (options.order == 1 || s.sigma == 0 || from.alpha == 0)
    return {euler_step(euler_weights(from, s), x, first), first};
  const Level middle = second_level(options, path, from, s);
  const EulerWeights inner = euler_weights(from, middle);
  const Tensor second = denoiser(euler_step(inner, x, first), middle, condition).x0;
  // x_s / alpha_s = x / alpha + step [(1 - share) eps + share eps'], each eps written by its state
  // and prediction.
  const double step = s.alpha * (noise_ratio(s) - noise_ratio(from)),
               share = 1 / (2 * options.stage), of_first = step * (1 - share) / from.sigma,
               of_second = step * share / middle.sigma;
  Tensor next = (s.alpha / from.alpha + of_first + of_second * inner.keep) * x;
  next.add_(first, of_second * inner.weight - of_first * from.alpha);
  return {next.add_(second, -of_second * middle.alpha), first};
}

/// dx/dt = d_alpha x0 + d_sigma eps, at a state with its prediction.
Tensor slope_in_time(const Tensor& x, const Tensor& x0, const Level& level) {
  const double of_eps = level.d_sigma / level.sigma;
  return (of_eps * x).add_(x0, level.d_alpha - of_eps * level.alpha);
}

/// A step straight in t.
Stepped step_in_time(const RungeKuttaOptions& options, const Denoiser& denoiser, const Tensor& x,
                     const Level& from, const Level& s, const Condition& condition) {
  check(!std::isnan(from.d_alpha),
        "runge_kutta: clock 'time' needs a continuous schedule; use clock=ratio on a chain");
  const double step = s.t - from.t;
  const Tensor x0 = denoiser(x, from, condition).x0, slope = slope_in_time(x, x0, from);
  const Tensor end = at::add(x, slope, step);
  if (options.order == 1 || s.sigma == 0) return {end, x0};
  const Tensor there = slope_in_time(end, denoiser(end, s, condition).x0, s);
  return {at::add(x, slope, 0.5 * step).add_(there, 0.5 * step), x0};
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
    return walk("runge_kutta", x, path, observe,
                [&](const Tensor& state, const Level& t, const Level& s, int64_t) {
                  const Level from = t.alpha == 0 ? t : churned(options, path, t);
                  const Tensor start = churned_state(options, state, t, from, noise);
                  return options.clock == "ratio"
                             ? step_in_ratio(options, denoiser, start, from, s, path, condition)
                             : step_in_time(options, denoiser, start, from, s, condition);
                });
  };
}

}  // namespace tweedie
