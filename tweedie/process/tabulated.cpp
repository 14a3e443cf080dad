#include "tweedie/process/tabulated.h"

#include <algorithm>
#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/process/custom.h"

namespace tweedie {

HermiteCubic::Point HermiteCubic::at(double t) const {
  const double last = static_cast<double>(value.size() - 1);
  const double place = std::clamp((t - first) / spacing, 0.0, last);
  const size_t i = std::min(static_cast<size_t>(place), value.size() - 2);
  const double u = place - static_cast<double>(i), h = spacing;
  return {value[i] * (1 + 2 * u) * (1 - u) * (1 - u) + value[i + 1] * u * u * (3 - 2 * u) +
              h * (slope[i] * u * (1 - u) * (1 - u) - slope[i + 1] * u * u * (1 - u)),
          (value[i + 1] - value[i]) / h * 6 * u * (1 - u) + slope[i] * (1 - u) * (1 - 3 * u) -
              slope[i + 1] * u * (2 - 3 * u)};
}

std::vector<double> monotone_slopes(const std::vector<double>& value, double spacing) {
  const size_t n = value.size();
  std::vector<double> secant(n - 1), slope(n);
  for (size_t i = 0; i + 1 < n; ++i) secant[i] = (value[i + 1] - value[i]) / spacing;
  slope.front() = secant.front();
  slope.back() = secant.back();
  for (size_t i = 1; i + 1 < n; ++i)  // the harmonic mean is at most three times either secant
    slope[i] = secant[i - 1] * secant[i] > 0
                   ? 2 * secant[i - 1] * secant[i] / (secant[i - 1] + secant[i])
                   : 0;
  return slope;
}

std::vector<double> limited_slopes(const std::vector<double>& value, std::vector<double> slope,
                                   double spacing) {
  for (size_t i = 0; i + 1 < value.size(); ++i) {
    const double secant = (value[i + 1] - value[i]) / spacing;
    const double radius = std::hypot(slope[i], slope[i + 1]) / std::abs(secant);
    if (radius <= 3) continue;
    slope[i] *= 3 / radius;
    slope[i + 1] *= 3 / radius;
  }
  return slope;
}

Level preserving_level(double t, double log_snr, double d_log_snr) {
  const double alpha_sq = 1 / (1 + std::exp(-log_snr)), sigma_sq = 1 / (1 + std::exp(log_snr));
  const double alpha = std::sqrt(alpha_sq), sigma = std::sqrt(sigma_sq);
  return {t, alpha, sigma, 0.5 * d_log_snr * alpha * sigma_sq, -0.5 * d_log_snr * sigma * alpha_sq};
}

Schedule tabulated_schedule(std::string name, const std::vector<double>& gamma,
                            const std::vector<double>& d_gamma) {
  check(gamma.size() >= 2 && d_gamma.size() == gamma.size(), name,
        ": expected a table of 2 or more values of gamma and as many slopes, got ", gamma.size(),
        " and ", d_gamma.size());
  for (size_t i = 0; i < gamma.size(); ++i) {
    check(std::isfinite(gamma[i]) && std::isfinite(d_gamma[i]) && d_gamma[i] >= 0, name, ": entry ",
          i, " of its table is ", gamma[i], " with slope ", d_gamma[i],
          "; expected finite numbers and no negative slope");
    check(i == 0 || gamma[i] > gamma[i - 1], name, ": its table falls from ",
          i == 0 ? 0 : gamma[i - 1], " to ", gamma[i], " at entry ", i, "; gamma must rise");
  }
  const double spacing = 1 / static_cast<double>(gamma.size() - 1);
  const HermiteCubic curve{0, spacing, gamma, limited_slopes(gamma, d_gamma, spacing)};
  return custom_curve(std::move(name), 0, 1, 1, [curve](double t) {
    const HermiteCubic::Point point = curve.at(t);
    return preserving_level(t, -point.value, -point.slope);
  });
}

}  // namespace tweedie
