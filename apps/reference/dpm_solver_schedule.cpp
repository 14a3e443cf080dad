#include "dpm_solver_schedule.h"

#include <algorithm>
#include <cmath>

#include "peer_tables.h"
#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/path.h"

namespace tweedie::reference {
namespace {

/// Straight lines through (x_i, y_i), x rising, continued beyond the ends (interpolate_fn).
double piecewise(const std::vector<double>& x, const std::vector<double>& y, double at) {
  const auto above = std::upper_bound(x.begin(), x.end(), at);
  const size_t i = static_cast<size_t>(std::clamp<std::ptrdiff_t>(
      above - x.begin() - 1, 0, static_cast<std::ptrdiff_t>(x.size()) - 2));
  return y[i] + (at - x[i]) * (y[i + 1] - y[i]) / (x[i + 1] - x[i]);
}

}  // namespace

double lambda_of(double log_alpha) {
  return log_alpha - 0.5 * std::log(-std::expm1(2 * log_alpha));
}

NoiseSchedule linear_noise_schedule(const Json& settings) {
  check_known_keys(settings, {"schedule", "continuous_beta_0", "continuous_beta_1"}, "linear");
  const double first = number_of(settings, "continuous_beta_0"),
               last = number_of(settings, "continuous_beta_1");
  NoiseSchedule out;
  out.levels = 1000;  // the peer's constant for its continuous schedule
  const double t_0 = 1 / static_cast<double>(out.levels);
  const Schedule vp = vp_linear(first, last, 1e-9), sampled = vp_linear(first, last, t_0);
  out.log_alpha = [vp](double t) { return std::log(vp.at(t).alpha); };
  out.time_of_lambda = [vp](double lambda) { return time_of_log_snr(vp, 2 * lambda); };
  const auto times = [](const Path& path) {
    std::vector<double> t;
    for (const Level& level : path) t.push_back(level.t);
    return t;
  };
  out.even_in_lambda = [=](int64_t steps) { return times(log_snr_path(sampled, steps + 1)); };
  out.even_in_time = [=](int64_t steps) { return times(bound_path(sampled, steps)); };
  return out;
}

NoiseSchedule discrete_noise_schedule(const Json& settings, int64_t length, Checker& checker) {
  const Schedule chain = diffusers_chain(settings, length);
  std::vector<double> log_alpha, time;
  for (int64_t i = 1; i <= length; ++i) {
    const Level level = step_level(chain, i);
    if (log_snr(level) < 2 * -5.1) {
      checker.compatibility("dpm-solver numerical_clip_alpha: no levels below lambda = -5.1");
      break;
    }
    log_alpha.push_back(std::log(level.alpha));
  }
  NoiseSchedule out;
  out.levels = static_cast<int64_t>(log_alpha.size());
  for (int64_t i = 1; i <= out.levels; ++i)
    time.push_back(static_cast<double>(i) / static_cast<double>(out.levels));
  out.log_alpha = [=](double t) { return piecewise(time, log_alpha, t); };
  std::vector<double> rising(log_alpha.rbegin(), log_alpha.rend()),
      falling(time.rbegin(), time.rend());
  out.time_of_lambda = [=](double lambda) {
    const double log_alpha_there =
        -0.5 * (std::max(0.0, -2 * lambda) + std::log1p(std::exp(-std::abs(2 * lambda))));
    return piecewise(rising, falling, log_alpha_there);
  };
  out.even_in_lambda = [=, inverse = out.time_of_lambda](int64_t steps) {
    std::vector<double> t;
    for (const double lambda :
         numpy_linspace(lambda_of(log_alpha.back()), lambda_of(log_alpha.front()), steps + 1))
      t.push_back(inverse(lambda));
    return t;
  };
  out.even_in_time = [t_0 = time.front()](int64_t steps) {
    return numpy_linspace(1, t_0, steps + 1);
  };
  return out;
}

std::vector<double> time_steps(const NoiseSchedule& schedule, const std::string& skip_type,
                               int64_t steps) {
  if (skip_type == "logSNR") return schedule.even_in_lambda(steps);
  if (skip_type == "time_uniform") return schedule.even_in_time(steps);
  check(skip_type == "time_quadratic", "skip_type '", skip_type, "' is not understood");
  std::vector<double> out =
      numpy_linspace(1, std::sqrt(1 / static_cast<double>(schedule.levels)), steps + 1);
  for (double& t : out) t *= t;
  return out;
}

/// Orders that use exactly `steps` evaluations (Lu et al. 2022, arXiv:2206.00927, appendix D.3).
std::vector<int64_t> singlestep_orders(int64_t steps, int64_t order) {
  check(order >= 1 && order <= 3, "singlestep order ", order, " is not understood");
  const bool ends_in_two_one = order == 3 && steps % 3 == 0;
  std::vector<int64_t> out(static_cast<size_t>(steps / order - (ends_in_two_one ? 1 : 0)), order);
  if (ends_in_two_one) {
    out.insert(out.end(), {2, 1});
  } else if (steps % order > 0) {
    out.push_back(steps % order);
  }
  return out;
}

std::vector<double> singlestep_times(const NoiseSchedule& schedule, const std::string& skip_type,
                                     int64_t steps, int64_t order) {
  const std::vector<int64_t> orders = singlestep_orders(steps, order);
  // Even in lambda from one solver step to the next; in time, from one evaluation to the next.
  if (skip_type == "logSNR")
    return time_steps(schedule, skip_type, static_cast<int64_t>(orders.size()));
  const std::vector<double> every = time_steps(schedule, skip_type, steps);
  std::vector<double> out{every[0]};
  size_t place = 0;
  for (const int64_t taken : orders) out.push_back(every[place += static_cast<size_t>(taken)]);
  return out;
}

}  // namespace tweedie::reference
