// dpm-solver's noise schedules, and the times its solvers visit.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "checker.h"

namespace tweedie::reference {

/// NoiseScheduleVP: log alpha in t and back.  lambda is half our log-SNR.
struct NoiseSchedule {
  int64_t levels;  // total_N; sampling ends at t = 1 / levels
  std::function<double(double t)> log_alpha, time_of_lambda;
  std::function<std::vector<double>(int64_t steps)> even_in_lambda, even_in_time;
};

/// From the peer's settings; tells `checker` of its cut of discrete schedules.
NoiseSchedule linear_noise_schedule(const Json& settings);
NoiseSchedule discrete_noise_schedule(const Json& settings, int64_t length, Checker& checker);

/// lambda = log(alpha / sigma) of a variance-preserving level.
double lambda_of(double log_alpha);

/// skip_type: logSNR, time_uniform or time_quadratic; steps + 1 times.
std::vector<double> time_steps(const NoiseSchedule& schedule, const std::string& skip_type,
                               int64_t steps);
/// Orders that use exactly `steps` evaluations (Lu et al. 2022, arXiv:2206.00927, appendix D.3).
std::vector<int64_t> singlestep_orders(int64_t steps, int64_t order);
/// The times between the solver's steps of those orders.
std::vector<double> singlestep_times(const NoiseSchedule& schedule, const std::string& skip_type,
                                     int64_t steps, int64_t order);

}  // namespace tweedie::reference
