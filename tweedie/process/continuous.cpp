#include <cmath>
#include <numbers>

#include "tweedie/base/error.h"
#include "tweedie/process/custom.h"

namespace tweedie {
namespace {

void check_betas(const char* name, double beta_min, double beta_max, double t_min) {
  check(beta_min >= 0 && beta_max >= beta_min && beta_max > 0 && std::isfinite(beta_max), name,
        ": expected 0 <= beta_min <= beta_max, not both 0, got ", beta_min, " and ", beta_max);
  check(t_min > 0 && t_min < 1, name, ": expected t_min in (0, 1), got ", t_min);
}

void check_sigmas(const char* name, double sigma_min, double sigma_max) {
  check(sigma_min > 0 && sigma_max > sigma_min && std::isfinite(sigma_max), name,
        ": expected 0 < sigma_min < sigma_max, got ", sigma_min, " and ", sigma_max);
}

}  // namespace

Schedule vp_linear(double beta_min, double beta_max, double t_min) {
  // Song et al. 2021 (arXiv:2011.13456), eq. 29 and 33.
  check_betas("vp", beta_min, beta_max, t_min);
  return custom_curve("vp", t_min, 1, 1, [=](double t) {
    const double beta = beta_min + t * (beta_max - beta_min),
                 integral = t * beta_min + 0.5 * t * t * (beta_max - beta_min);
    const double alpha = std::exp(-0.5 * integral), sigma = std::sqrt(-std::expm1(-integral));
    return Level{t, alpha, sigma, -0.5 * beta * alpha, 0.5 * beta * alpha * alpha / sigma};
  });
}

Schedule sub_vp(double beta_min, double beta_max, double t_min) {
  // Song et al. 2021 (arXiv:2011.13456), eq. 29 (sub-VP): sigma is the square of VP's.
  check_betas("sub-vp", beta_min, beta_max, t_min);
  return custom_curve("sub-vp", t_min, 1, 1, [=](double t) {
    const double beta = beta_min + t * (beta_max - beta_min),
                 integral = t * beta_min + 0.5 * t * t * (beta_max - beta_min);
    const double alpha = std::exp(-0.5 * integral), sigma = -std::expm1(-integral);
    return Level{t, alpha, sigma, -0.5 * beta * alpha, beta * alpha * alpha};
  });
}

Schedule ve(double sigma_min, double sigma_max) {
  // Song et al. 2021 (arXiv:2011.13456), eq. 31: sigma grows geometrically.
  check_sigmas("ve", sigma_min, sigma_max);
  const double rate = std::log(sigma_max / sigma_min);
  return custom_curve("ve", 0, 1, sigma_max, [=](double t) {
    const double sigma = sigma_min * std::exp(rate * t);
    return Level{t, 1, sigma, 0, rate * sigma};
  });
}

Schedule cosine(double t_min, double t_max) {
  check(t_min > 0 && t_max < 1, "cosine-continuous: expected 0 < t_min and t_max < 1, got ", t_min,
        " and ", t_max);
  constexpr double h = std::numbers::pi / 2;
  return custom_curve("cosine-continuous", t_min, t_max, 1, [](double t) {
    const double c = std::sin(h * (1 - t)), s = std::sin(h * t);  // sines keep their digits at 0
    return Level{t, c, s, -h * s, h * c};
  });
}

Schedule edm(double sigma_min, double sigma_max) {
  // Karras et al. 2022 (arXiv:2206.00364), table 1: t is sigma.
  check_sigmas("edm", sigma_min, sigma_max);
  Schedule schedule = custom_curve("edm", sigma_min, sigma_max, sigma_max, [](double t) {
    return Level{t, 1, t, 0, 1};
  });
  schedule.even_in_t = false;
  return schedule;
}

Schedule flow(double t_min, double t_max) {
  // Lipman et al. 2023 (arXiv:2210.02747), eq. 22 with sigma_min = 0, time running from data to
  // noise.
  check(t_min > 0 && t_max <= 1, "flow: expected 0 < t_min and t_max <= 1, got ", t_min, " and ",
        t_max);
  return custom_curve("flow", t_min, t_max, 1, [](double t) { return Level{t, 1 - t, t, -1, 1}; });
}

Schedule log_snr_linear(double gamma_min, double gamma_max) {
  check(gamma_min < gamma_max && std::isfinite(gamma_max - gamma_min),
        "log-snr-linear: expected gamma_min < gamma_max, got ", gamma_min, " and ", gamma_max);
  const double range = gamma_max - gamma_min;
  return custom_curve("log-snr-linear", 0, 1, 1, [=](double t) {
    const double gamma = gamma_min + t * range;
    const double alpha_sq = 1 / (1 + std::exp(gamma)), sigma_sq = 1 / (1 + std::exp(-gamma));
    const double alpha = std::sqrt(alpha_sq), sigma = std::sqrt(sigma_sq);
    return Level{t, alpha, sigma, -0.5 * range * alpha * sigma_sq, 0.5 * range * sigma * alpha_sq};
  });
}

}  // namespace tweedie
