#include "tweedie/process/training_levels.h"

#include <algorithm>
#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/process/path.h"

namespace tweedie {

TrainingLevels even_in_log_snr(const Schedule& schedule) {
  check(schedule.steps == 0, schedule.name, ": is a chain, whose levels are its steps");
  const double cleanest = log_snr(schedule.at(schedule.t_min)),
               range = log_snr(schedule.at(schedule.t_max)) - cleanest;
  check(std::isfinite(range), schedule.name,
        ": its log-SNR is not finite at both ends, so that levels cannot be spread over it; end it "
        "before pure noise (flow: schedule.t_max=0.999)");
  return {[=](double u) { return schedule.at(time_of_log_snr(schedule, cleanest + u * range)); },
          [=](const Level& level) { return (log_snr(level) - cleanest) / range; },
          [=](const Level&) { return -0.5 * range; }};
}

TrainingLevels even_levels(const Schedule& schedule) {
  if (schedule.steps > 0) {
    const double steps = static_cast<double>(schedule.steps);
    return {[at = schedule.at, last = schedule.steps, steps](double u) {
              const int64_t i = 1 + std::min(static_cast<int64_t>(u * steps), last - 1);
              return at(static_cast<double>(i) / steps);
            },
            [steps](const Level& level) { return level.t - 0.5 / steps; },
            {}};
  }
  if (!schedule.even_in_t) return even_in_log_snr(schedule);
  const double range = schedule.t_max - schedule.t_min;
  return {[=](double u) { return schedule.at(schedule.t_min + u * range); },
          [first = schedule.t_min, range](const Level& level) { return (level.t - first) / range; },
          [range](const Level& level) {
            return range * (level.d_sigma / level.sigma - level.d_alpha / level.alpha);
          }};
}

}  // namespace tweedie
