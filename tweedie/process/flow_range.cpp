#include "tweedie/process/flow_range.h"

#include <cmath>
#include <sstream>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

constexpr double kMostRatio = 1e5;  // of sigma to alpha
constexpr double kSameSigma = 1e-6;

/// The chain's curve without its last step, at the times that the whole chain has.
Curve without_last_step(const Schedule& chain) {
  Schedule shorter = chain;
  shorter.steps = chain.steps - 1;
  const double share = static_cast<double>(shorter.steps) / static_cast<double>(chain.steps);
  shorter.t_min = chain.t_min / share;
  shorter.at = [at = chain.at, share](double t) { return at(t * share); };
  return [curve = curve_of(shorter), share](double log_snr) {
    Level level = curve(log_snr);
    level.t *= share;
    level.d_alpha /= share;
    level.d_sigma /= share;
    return level;
  };
}

}  // namespace

FlowRange flow_range(const Schedule& schedule) {
  const bool chain = schedule.steps > 0;
  const double first = chain ? 1 / static_cast<double>(schedule.steps) : schedule.t_min;
  FlowRange range{log_ratio(schedule.at(first)), log_ratio(schedule.at(schedule.t_max)),
                  curve_of(schedule), ""};
  check(std::isfinite(range.data), "probability flow: ", schedule.name,
        " has no noise at its first level; raise t_min");
  check(schedule.steps != 1, "probability flow: ", schedule.name,
        " is a chain of 1 step; needs 2 or more");
  if (range.noise <= std::log(kMostRatio)) return range;
  // Where sigma still grows, as in processes that keep the signal, the end is no pure noise.
  const double sigma = schedule.at(schedule.t_max).sigma;
  if (!chain && std::isfinite(range.noise) &&
      range.level(std::log(kMostRatio)).sigma < (1 - kSameSigma) * sigma)
    return range;
  std::ostringstream note;
  note << schedule.name << " ends in pure noise: the flow ";
  if (chain) {
    check(schedule.steps > 2, "probability flow: ", schedule.name,
          " ends in pure noise and has only ", schedule.steps, " steps; needs 3 or more");
    range.between = without_last_step(schedule);
    range.noise = log_ratio(
        schedule.at(static_cast<double>(schedule.steps - 1) / static_cast<double>(schedule.steps)));
    note << "ends a step earlier, at t = " << range.level(range.noise).t;
  } else {
    range.noise = std::log(kMostRatio);
    note << "ends at t = " << range.level(range.noise).t << ", where sigma = " << kMostRatio
         << " alpha";
  }
  range.note = note.str();
  return range;
}

}  // namespace tweedie
