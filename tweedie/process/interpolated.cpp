#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/process/tabulated.h"

namespace tweedie {

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
  const HermiteCubic curve{1 / steps, 1 / steps, lambda, monotone_slopes(lambda, 1 / steps)};
  Schedule schedule = chain;
  schedule.name = chain.name + " (interpolated)";
  schedule.steps = 0;
  schedule.at = [curve, first = chain.t_min, last = chain.t_max](double t) {
    check(t >= first - 1e-12 && t <= last + 1e-12, "interpolated chain: t = ", t, " is outside [",
          first, ", ", last, "]");
    const HermiteCubic::Point point = curve.at(t);
    return preserving_level(t, point.value, point.slope);
  };
  return schedule;
}

}  // namespace tweedie
