// A point on a diffusion process: x_t = alpha x_0 + sigma eps.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace tweedie {

/// Amplitudes of signal and noise at time t, and their derivatives in t (NaN on a chain, which has
/// no tangent).
struct Level {
  double t, alpha, sigma, d_alpha, d_sigma;
};

/// Clean data: where every path to data may end.
inline constexpr Level clean{0, 1, 0, std::numeric_limits<double>::quiet_NaN(),
                             std::numeric_limits<double>::quiet_NaN()};

/// log(alpha^2 / sigma^2): +infinity at clean data, -infinity where alpha = 0.
inline double log_snr(const Level& level) {
  return 2 * (std::log(level.alpha) - std::log(level.sigma));
}

/// sigma / alpha: EDM's sigma, in which the flow of x / alpha has the slope eps; and its logarithm,
/// -log-SNR / 2.
inline double noise_ratio(const Level& level) { return level.sigma / level.alpha; }
inline double log_ratio(const Level& level) { return -0.5 * log_snr(level); }

/// Nats per example -> bits per dimension.
inline double bits_per_dim(double nats, int64_t dims) {
  return nats / (static_cast<double>(dims) * std::log(2.0));
}

}  // namespace tweedie
