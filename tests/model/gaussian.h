// Data whose every answer is known: N(mean, var) in each dimension, and a network that is right
// about it.
#pragma once

#include <cmath>
#include <numbers>
#include <vector>

#include "tweedie/model/vlb.h"
#include "tweedie/process/path.h"
#include "tweedie/process/posterior.h"

namespace tweedie::testing {

constexpr double kMean = 0.7, kVar = 0.3;

inline at::TensorOptions f64() { return at::TensorOptions(at::kDouble); }

/// Variance of x_t, and of x_0 given x_t.
inline double marginal_var(const Level& l) { return l.alpha * l.alpha * kVar + l.sigma * l.sigma; }
inline double x0_var(const Level& l) { return kVar * l.sigma * l.sigma / marginal_var(l); }
inline double entropy() { return 0.5 * std::log(2 * std::numbers::pi * std::numbers::e * kVar); }

/// E[x_0 | x_t].
inline Tensor exact_x0(const Tensor& x_t, Levels levels) {
  const Tensor gain = per_example(
      levels, [](const Level& l) { return l.alpha * kVar / marginal_var(l); }, x_t);
  const Tensor alpha = per_example(
      levels, [](const Level& l) { return l.alpha; }, x_t);
  return kMean + gain * (x_t - alpha * kMean);
}

/// Where the true reverse variance lies between the posterior's two, in logs.
inline double exact_mix(const Level& s, const Level& t) {
  const Posterior q = posterior(s, t);
  const double exact = q.var + q.c_x0 * q.c_x0 * x0_var(t);
  return std::log(exact / q.var) / std::log(q.var_large / q.var);
}

inline Denoiser exact_denoiser() {
  return [](const Tensor& x_t, Levels levels, const Condition&) {
    return Prediction{exact_x0(x_t, levels), {}};
  };
}

/// The next less noisy level of `path` after `t`, or nothing good at its end.
inline const Level& next_of(const Path& path, const Level& t) {
  for (size_t i = 0; i + 1 < path.size(); ++i)
    if (path[i].t == t.t) return path[i + 1];
  return path.back();
}

/// exact_denoiser with the true reverse variances of `path` as its learned ones.
inline Denoiser exact_denoiser_with_variance(const Path& path) {
  return [path](const Tensor& x_t, Levels levels, const Condition&) {
    const auto mix = [&](const Level& t) {
      const Level& s = next_of(path, t);
      return s.sigma == 0 || s.t == t.t ? 0.0 : exact_mix(s, t);
    };
    return Prediction{exact_x0(x_t, levels), per_example(levels, mix, x_t).expand_as(x_t)};
  };
}

/// Four examples whose averages of a quadratic form in (x_0, noise) are its expectations:
/// x_0 = mean +- std, noise +-1.
inline Tensor quadrature_x0() {
  const double std = std::sqrt(kVar);
  return at::tensor({kMean + std, kMean + std, kMean - std, kMean - std}, f64()).view({4, 1});
}
inline Tensor quadrature_eps() { return at::tensor({1.0, -1.0, 1.0, -1.0}, f64()).view({4, 1}); }
inline Noise quadrature_noise() {
  return [](const Tensor& like, const Level&, const Level&) {
    return quadrature_eps().to(like.options());
  };
}

inline Path without_clean(Path path) {
  if (path.back().sigma == 0) path.pop_back();
  return path;
}

inline double distance(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>();
}
inline bool is_near(double a, double b, double tolerance) { return std::abs(a - b) <= tolerance; }

}  // namespace tweedie::testing
