// Group A: DPM-Solver's noise schedules, time steps and the orders of its singlestep solver.
#include <algorithm>
#include <cmath>
#include <map>

#include "dpm_solver_schedule.h"
#include "peer_tables.h"
#include "schedule_cases.h"
#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/path.h"

namespace tweedie::reference {
namespace {

double value_at(const NoiseSchedule& schedule, const std::string& what, double t) {
  const double log_alpha = schedule.log_alpha(t);
  if (what == "log_alpha") return log_alpha;
  if (what == "alpha") return std::exp(log_alpha);
  if (what == "sigma") return std::sqrt(-std::expm1(2 * log_alpha));
  if (what == "lambda") return lambda_of(log_alpha);
  check(what == "inverse_lambda", "'", what, "' of a noise schedule is not understood");
  return schedule.time_of_lambda(lambda_of(log_alpha));
}

Tensor expected_of(const NoiseSchedule& schedule, const std::vector<std::string>& parts,
                   const Tensor& times) {
  if (parts.size() == 2 && parts[1] == "total_N")
    return at::scalar_tensor(schedule.levels, at::kLong);
  if (parts.size() == 2) {
    std::vector<double> out;
    for (const double t : to_doubles(times)) out.push_back(value_at(schedule, parts[1], t));
    return to_tensor(out);
  }
  const int64_t steps = number_in(parts[2]);
  if (parts.size() == 3) return to_tensor(time_steps(schedule, parts[1], steps));
  check(parts.size() == 5, "expected <schedule>.<skip_type>.<n>[.order<order>.<what>]");
  const int64_t order = number_in(parts[3], "order");
  if (parts[4] == "singlestep_t")
    return to_tensor(singlestep_times(schedule, parts[1], steps, order));
  check(parts[4] == "singlestep_orders", "'", parts[4], "' is not understood");
  return at::tensor(singlestep_orders(steps, order), at::kLong);
}

}  // namespace

void check_dpm_solver_schedules(const Case& the_case, Checker& checker) {
  std::map<std::string, NoiseSchedule> schedules;
  const int64_t length = the_case.config.value("num_train_timesteps", int64_t{1000});
  for (const auto& [name, settings] : the_case.config.items()) {
    if (!settings.is_object()) continue;
    schedules[name] = settings.contains("beta_schedule")
                          ? discrete_noise_schedule(
                                settings, settings.value("num_train_timesteps", length), checker)
                          : linear_noise_schedule(settings);
  }
  for (const auto& [name, expected] : the_case.tensors) {
    if (name == "t") continue;  // the input
    const std::vector<std::string> parts = name_parts(name);
    check(schedules.contains(parts[0]) && parts.size() >= 2, "tensor '", name,
          "' is of no schedule in the config");
    checker.compare(name, expected_of(schedules.at(parts[0]), parts, the_case.tensor("t")));
  }
}

}  // namespace tweedie::reference
