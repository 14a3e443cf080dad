// A mixture of two normals on the line: its posterior moments, and the weights of paths to it.
#pragma once

#include <cmath>
#include <numeric>

#include "tests/model/gaussian.h"
#include "tweedie/model/ais.h"

namespace tweedie::testing {

constexpr double kWeights[2] = {0.6, 0.4}, kMeans[2] = {-0.8, 0.9}, kStds[2] = {0.3, 0.15};

inline Tensor line(const double (&values)[2]) { return at::tensor({values[0], values[1]}, f64()); }

inline Tensor line_log_terms(const Tensor& x_t, const Level& l) {
  const Tensor var = l.alpha * l.alpha * line(kStds).square() + l.sigma * l.sigma;  // [2]
  return line(kWeights).log() - 0.5 * ((x_t - l.alpha * line(kMeans)).square() / var + var.log() +
                                       std::log(2 * std::numbers::pi));  // [B, 2]
}

inline Tensor line_log_density(const Tensor& x, const Level& l) {
  return line_log_terms(x, l).logsumexp(1);
}

/// E[x_0 | x_t] and Var(x_0 | x_t), [B, 1].
inline std::pair<Tensor, Tensor> line_posterior(const Tensor& x_t, const Level& l) {
  const Tensor var = line(kStds).square(), noisy = l.alpha * l.alpha * var + l.sigma * l.sigma;
  const Tensor share = line_log_terms(x_t, l).softmax(1),
               mean = line(kMeans) + l.alpha * var / noisy * (x_t - l.alpha * line(kMeans));
  const Tensor x0 = (share * mean).sum(1, true);
  return {x0,
          (share * (mean.square() + var * l.sigma * l.sigma / noisy)).sum(1, true) - x0.square()};
}

inline Prediction line_denoiser(const Tensor& x_t, Levels levels, const Condition&) {
  return {line_posterior(x_t, levels[0]).first, {}};
}

/// With the variance at each x_t that has the posterior's second moment, as a learned one of
/// `path`.
inline Denoiser moment_matching_denoiser(const Path& path) {
  return [path](const Tensor& x_t, Levels levels, const Condition&) {
    const auto [x0, x0_var] = line_posterior(x_t, levels[0]);
    const Level s = next_of(path, levels[0]);
    if (s.sigma == 0) return Prediction{x0, at::ones_like(x0)};
    const Posterior q = posterior(s, levels[0]);
    return Prediction{x0,
                      (1 + q.c_x0 * q.c_x0 / q.var * x0_var).log() / std::log(q.var_large / q.var)};
  };
}

/// A decoder of the same kind for the last step.
inline Tensor moment_matching_decoder(const Prediction& prediction, const Tensor& x_t,
                                      const Level& level, const Tensor& x0) {
  const Tensor var = line_posterior(x_t, level).second;
  return sum_over_dims(-0.5 *
                       ((x0 - prediction.x0).square() / var + (2 * std::numbers::pi * var).log()));
}

/// The mean of Var(x_0 | x_t) over the marginal of x_t, by the trapezoid rule.
inline double line_x0_variance(const Level& l) {
  const Tensor x = at::linspace(-6, 6, 2001, f64()).unsqueeze(1);
  return ((line_log_density(x, l).exp() * line_posterior(x, l).second.squeeze(1)).sum() *
          (12.0 / 2000))
      .item<double>();
}

inline std::vector<int64_t> numbers(int64_t count) {
  std::vector<int64_t> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

inline Tensor line_points(int64_t count) {
  const Tensor z = keyed_normal({9, Stream::data}, numbers(count), 0, {1}).to(at::kDouble);
  Tensor out = at::empty({count, 1}, f64());
  for (int64_t i = 0; i < count; ++i) {
    const int k = keyed_uniform({9, Stream::order}, i, 0) < kWeights[0] ? 0 : 1;
    out[i] = kMeans[k] + kStds[k] * z[i];
  }
  return out;
}

inline Noise path_noise(int64_t rows) { return keyed_noise(11, numbers(rows), Stream::paths); }

/// What takes the place of the reverse variance in the last step, to clean data.
inline double last_variance(const Path& path, Variance variance) {
  const Level first = without_clean(path).back();
  if (variance == Variance::small) return decoder_variance(path);
  return variance == Variance::large ? posterior(clean, first).var_large : line_x0_variance(first);
}

/// `learned` stands for the moments matched at every x_t.
inline Tensor line_weights(const Path& path, Variance variance, const Tensor& x0, int64_t paths) {
  const AisOptions options{variance, line_x0_variance, 1, paths};
  if (variance == Variance::learned)
    return ais(moment_matching_denoiser(path), path, moment_matching_decoder, x0, {},
               path_noise(x0.size(0) * paths), options)
        .log_weights;
  return ais(line_denoiser, path, gaussian_decoder(last_variance(path, variance)), x0, {},
             path_noise(x0.size(0) * paths), options)
      .log_weights;
}

struct Quality {
  double gap, variance;
};
/// Of `points` examples with 8 paths each, on the cosine chain.
inline Quality quality(int64_t steps, Variance variance, int64_t points) {
  const Tensor x0 = line_points(points);
  const Tensor weights = line_weights(chain_path(cosine_chain(steps)), variance, x0, 8);
  return {(line_log_density(x0, clean) - weights.mean(1)).mean().item<double>(),
          weights.var(1).mean().item<double>()};
}

/// Slope of log y against log steps by least squares.
inline double log_slope(const std::vector<double>& steps, const std::vector<double>& y) {
  double mx = 0, my = 0, xy = 0, xx = 0;
  const double n = static_cast<double>(steps.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    mx += std::log(steps[i]) / n;
    my += std::log(y[i]) / n;
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    xy += (std::log(steps[i]) - mx) * (std::log(y[i]) - my);
    xx += (std::log(steps[i]) - mx) * (std::log(steps[i]) - mx);
  }
  return xy / xx;
}

}  // namespace tweedie::testing
