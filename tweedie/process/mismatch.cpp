// How far a schedule's end is from its prior, and what to tell the user about it.
#include <cmath>
#include <sstream>

#include "tweedie/process/schedule.h"

namespace tweedie {

double terminal_mismatch_nats(const Schedule& schedule, double x0_squared) {
  // KL(N(alpha x0, sigma^2) || N(0, prior^2)).
  const Level end = schedule.at(schedule.t_max);
  const double prior = schedule.prior_std * schedule.prior_std, var = end.sigma * end.sigma / prior;
  // log(var) through log1p keeps its digits where var is nearly 1.
  return 0.5 * ((var - 1) - std::log1p(var - 1) + end.alpha * end.alpha * x0_squared / prior);
}

std::vector<std::string> schedule_warnings(const Schedule& schedule) {
  constexpr double kTolerated = 0.01;  // nats a dimension: 0.014 bits/dim lost for nothing
  const double mismatch = terminal_mismatch_nats(schedule);
  if (mismatch <= kTolerated) return {};
  const Level end = schedule.at(schedule.t_max);
  std::ostringstream warning;
  warning << schedule.name;
  if (schedule.steps > 0) warning << " chain of " << schedule.steps << " steps";
  warning << " ends at alpha_bar = " << end.alpha * end.alpha << ", sigma = " << end.sigma
          << ", far from its prior N(0, " << schedule.prior_std * schedule.prior_std
          << "): L_T = " << mismatch << " nats = " << bits_per_dim(mismatch, 1)
          << " bits for each dimension with |x_0| = 1; "
          << (schedule.steps > 0 ? "raise beta_end or the number of steps"
                                 : "raise the noise at t_max");
  return {warning.str()};
}

}  // namespace tweedie
