#include "tweedie/process/parameterisation.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tweedie/base/error.h"
#include "tweedie/process/schedule.h"

namespace tweedie {

Parameterisation eps_prediction(NoiseLabel label) {
  return [label](const Level& l) {
    check(l.alpha > 0,
          "eps prediction: says nothing of x0 at pure noise (alpha = 0); use v or x0 prediction "
          "there");
    return Scaling{1 / l.alpha, -l.sigma / l.alpha, 1, label(l)};
  };
}

Parameterisation x0_prediction(NoiseLabel label) {
  return [label](const Level& l) { return Scaling{0, 1, 1, label(l)}; };
}

Parameterisation v_prediction(NoiseLabel label) {
  // Salimans & Ho 2022 (arXiv:2202.00512): v = alpha eps - sigma x0, for any alpha and sigma.
  return [label](const Level& l) {
    const double norm = l.alpha * l.alpha + l.sigma * l.sigma;
    return Scaling{l.alpha / norm, -l.sigma / norm, 1, label(l)};
  };
}

Parameterisation velocity_prediction(NoiseLabel label) {
  // Liu et al. 2022 (arXiv:2209.03003): F = eps - x0.
  return [label](const Level& l) {
    const double sum = l.alpha + l.sigma;
    return Scaling{1 / sum, -l.sigma / sum, 1, label(l)};
  };
}

Parameterisation score_prediction(NoiseLabel label) {
  // F = -eps / sigma; Tweedie: x0 = (x_t + sigma^2 score) / alpha.
  return [label](const Level& l) {
    check(l.alpha > 0,
          "score prediction: says nothing of x0 at pure noise (alpha = 0); use v or x0 prediction "
          "there");
    return Scaling{1 / l.alpha, l.sigma * l.sigma / l.alpha, 1, label(l)};
  };
}

Parameterisation edm_prediction(double sigma_data) {
  check(sigma_data > 0, "edm prediction: expected sigma_data > 0, got ", sigma_data);
  return [sigma_data](const Level& l) {
    // Karras et al. 2022 (arXiv:2206.00364), table 1, in the variable x_t / alpha of noise sigma /
    // alpha.
    check(l.alpha > 0, "edm prediction: needs alpha > 0");
    const double sigma = l.sigma / l.alpha, total = sigma * sigma + sigma_data * sigma_data;
    return Scaling{sigma_data * sigma_data / total / l.alpha, sigma * sigma_data / std::sqrt(total),
                   1 / (l.alpha * std::sqrt(total)), std::log(sigma) / 4};
  };
}

Parameterisation ve_prediction() {
  return [](const Level& l) {
    check(l.alpha > 0, "ve prediction: needs alpha > 0");
    const double sigma = l.sigma / l.alpha;
    return Scaling{1 / l.alpha, sigma, 1 / l.alpha, std::log(0.5 * sigma)};
  };
}

Parameterisation ve_score_prediction(double data_scale) {
  check(data_scale > 0 && std::isfinite(data_scale),
        "ve-score prediction: expected data_scale > 0, got ", data_scale);
  // In the network's units x0 = x_t + sigma^2 F; ours are data_scale times those.
  return [data_scale](const Level& l) {
    check(l.alpha > 0, "ve-score prediction: needs alpha > 0");
    const double sigma = l.sigma / l.alpha;
    return Scaling{1 / l.alpha, sigma * sigma / data_scale, 1 / l.alpha, sigma / data_scale};
  };
}

Parameterisation vp_prediction(double beta_min, double beta_max) {
  check(beta_min > 0 && beta_max > beta_min,
        "vp prediction: expected 0 < beta_min < beta_max, got ", beta_min, " and ", beta_max);
  return [=](const Level& l) {
    check(l.alpha > 0, "vp prediction: needs alpha > 0");
    const double sigma = l.sigma / l.alpha, slope = beta_max - beta_min;
    // log(1 + sigma^2) = beta_min t + slope t^2 / 2, solved for t.
    const double integral = std::log1p(sigma * sigma);
    const double t = (std::sqrt(beta_min * beta_min + 2 * slope * integral) - beta_min) / slope;
    return Scaling{1 / l.alpha, -sigma, 1 / std::hypot(l.alpha, l.sigma), 999 * t};
  };
}

Parameterisation iddpm_prediction(int64_t steps) {
  const Schedule chain = cosine_chain(steps);
  std::vector<double> sigmas = {0};  // sigma / alpha of step i
  for (int64_t i = 1; i <= steps; ++i) {
    const Level l = chain.at(static_cast<double>(i) / static_cast<double>(steps));
    sigmas.push_back(l.sigma / l.alpha);
  }
  return [sigmas](const Level& l) {
    check(l.alpha > 0, "iddpm prediction: needs alpha > 0");
    const double sigma = l.sigma / l.alpha;
    const auto next = std::lower_bound(sigmas.begin(), sigmas.end(), sigma);
    size_t step = static_cast<size_t>(next - sigmas.begin());
    if (step == sigmas.size() || (step > 0 && sigma - sigmas[step - 1] < sigmas[step] - sigma))
      --step;
    return Scaling{1 / l.alpha, -sigma, 1 / std::hypot(l.alpha, l.sigma),
                   static_cast<double>(step) - 1};
  };
}

}  // namespace tweedie
