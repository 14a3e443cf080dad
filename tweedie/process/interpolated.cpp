#include <algorithm>
#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/process/schedule.h"

namespace tweedie {
namespace {

/// Fritsch & Carlson 1980: slopes at evenly spaced knots that keep a cubic Hermite interpolant
/// monotone.
std::vector<double> monotone_slopes(const std::vector<double>& y, double spacing) {
  const size_t n = y.size();
  std::vector<double> secant(n - 1), slope(n);
  for (size_t i = 0; i + 1 < n; ++i) secant[i] = (y[i + 1] - y[i]) / spacing;
  slope.front() = secant.front();
  slope.back() = secant.back();
  for (size_t i = 1; i + 1 < n; ++i)  // the harmonic mean is at most three times either secant
    slope[i] = secant[i - 1] * secant[i] > 0
                   ? 2 * secant[i - 1] * secant[i] / (secant[i - 1] + secant[i])
                   : 0;
  return slope;
}

}  // namespace

Schedule interpolated(const Schedule& chain) {
  check(chain.steps >= 2, "interpolated: needs a chain of at least 2 steps; ", chain.name,
        chain.steps == 0 ? " is continuous already" : " has 1");
  const double steps = static_cast<double>(chain.steps);
  std::vector<double> lambda;  // log-SNR at t = 1/T .. 1
  for (int64_t i = 1; i <= chain.steps; ++i)
    lambda.push_back(log_snr(chain.at(static_cast<double>(i) / steps)));
  check(std::isfinite(lambda.back()), "interpolated: ", chain.name,
        " ends in pure noise (alpha = 0), where log-SNR is infinite; use a chain without "
        "zero_terminal_snr");
  const std::vector<double> slope = monotone_slopes(lambda, 1 / steps);
  Schedule schedule = chain;
  schedule.name = chain.name + " (interpolated)";
  schedule.steps = 0;
  schedule.at = [=, first = chain.t_min, last = chain.t_max](double t) {
    check(t >= first - 1e-12 && t <= last + 1e-12, "interpolated chain: t = ", t, " is outside [",
          first, ", ", last, "]");
    const double place = std::clamp(t * steps - 1, 0.0, steps - 1);
    const size_t i = std::min(static_cast<size_t>(place), lambda.size() - 2);
    const double u = place - static_cast<double>(i), h = 1 / steps;
    const double l = lambda[i] * (1 + 2 * u) * (1 - u) * (1 - u) +
                     lambda[i + 1] * u * u * (3 - 2 * u) +
                     h * (slope[i] * u * (1 - u) * (1 - u) - slope[i + 1] * u * u * (1 - u));
    const double dl = (lambda[i + 1] - lambda[i]) / h * 6 * u * (1 - u) +
                      slope[i] * (1 - u) * (1 - 3 * u) - slope[i + 1] * u * (2 - 3 * u);
    const double alpha_sq = 1 / (1 + std::exp(-l)), sigma_sq = 1 / (1 + std::exp(l));
    const double alpha = std::sqrt(alpha_sq), sigma = std::sqrt(sigma_sq);
    return Level{t, alpha, sigma, 0.5 * dl * alpha * sigma_sq, -0.5 * dl * sigma * alpha_sq};
  };
  return schedule;
}

}  // namespace tweedie
