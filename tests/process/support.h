// What the tests of this layer share.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tweedie/process/schedule.h"

namespace tweedie::testing {

inline double relative_error(double got, double expected) {
  return got == expected ? 0 : std::abs(got - expected) / std::abs(expected);
}

inline double alpha_bar_at_end(const Schedule& schedule) {
  const double alpha = schedule.at(schedule.t_max).alpha;
  return alpha * alpha;
}

inline Level step_of(const Schedule& chain, int64_t i) {
  return chain.at(static_cast<double>(i) / static_cast<double>(chain.steps));
}

/// Every continuous schedule, with its default ends.
inline std::vector<Schedule> continuous_schedules() {
  return {vp_linear(), sub_vp(), ve(), cosine(), edm(), flow(), log_snr_linear()};
}

/// Every chain of `steps` steps that does not end in pure noise.
inline std::vector<Schedule> chains(int64_t steps) {
  const double start = rescaled_beta(1e-4, steps), end = rescaled_beta(0.02, steps);
  return {linear_chain(steps), cosine_chain(steps),
          chain_from_betas("scaled-linear", scaled_linear_betas(steps, start, end)),
          chain_from_betas("sigmoid", sigmoid_betas(steps, start, end)),
          chain_from_betas("sohl-dickstein", sohl_dickstein_betas(steps))};
}

/// Integral over u in (0, 1) of a function that is smooth inside and may be steep at both ends: the
/// trapezoidal rule in logit(u), whose error falls exponentially with the number of points.
template <class Function>
double integral_over_u(const Function& f, int points = 8000) {
  const double low = -40, high = 34, h = (high - low) / points;
  double sum = 0;
  for (int i = 0; i <= points; ++i) {
    const double y = low + h * i, u = 1 / (1 + std::exp(-y));
    sum += f(u) * u / (1 + std::exp(y));
  }
  return sum * h;
}

}  // namespace tweedie::testing
