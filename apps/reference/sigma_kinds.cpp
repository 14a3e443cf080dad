// Noise levels between two ends, of the kinds that samplers offer.
#include <cmath>

#include "diffusers_grids.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/path.h"

namespace tweedie::reference {
namespace {

/// The regularised incomplete beta function I_x(a, b) by its continued fraction (Lentz's method),
/// for x < (a + 1) / (a + b + 2).  Press et al. 2007, Numerical Recipes, 6.4.
double beta_cdf_near_zero(double x, double a, double b) {
  double c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), fraction = d;
  for (int m = 1; m < 500; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                 odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double change = 1;
    for (const double term : {even, odd}) {
      d = 1 / (1 + term * d);
      c = 1 + term / c;
      fraction *= c * d;
      change = c * d;
    }
    if (std::abs(change - 1) < 1e-16) break;
  }
  const double log_front = a * std::log(x) + b * std::log1p(-x) - std::log(a) -
                           (std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b));
  return std::exp(log_front) * fraction;
}

/// x with I_x(a, a) = p by bisection.  Symmetric: I_x(a, a) = 1 - I_{1 - x}(a, a).
double symmetric_beta_quantile(double p, double a) {
  if (p <= 0 || p >= 1) return p <= 0 ? 0 : 1;
  if (p > 0.5) return 1 - symmetric_beta_quantile(1 - p, a);
  double low = 0, high = 0.5;
  for (int i = 0; i < 200; ++i) {
    const double middle = 0.5 * (low + high);
    (beta_cdf_near_zero(middle, a, a) < p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

}  // namespace

std::vector<double> karras_ratios(double least, double most, int64_t steps, double rho) {
  Path path = karras_path(edm(least, most), steps, rho);
  path.pop_back();
  return noise_ratios(path);
}

std::vector<double> exponential_ratios(double least, double most, int64_t steps) {
  return steps == 1 ? std::vector<double>{most}
                    : noise_ratios(log_snr_path(edm(least, most), steps));
}

std::vector<double> beta_ratios(double least, double most, int64_t steps) {
  std::vector<double> out;
  for (const double u : numpy_linspace(0, 1, steps))
    out.push_back(least + symmetric_beta_quantile(1 - u, 0.6) * (most - least));
  return out;
}

}  // namespace tweedie::reference
