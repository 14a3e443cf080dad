#include "tweedie/process/path.h"

#include <cmath>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

Level chain_level(const Schedule& chain, int64_t i) {
  return chain.at(static_cast<double>(i) / static_cast<double>(chain.steps));
}

void check_steps(const Schedule& schedule, int64_t steps) {
  check(steps >= 1, "steps: expected 1 or more, got ", steps);
  check(schedule.steps == 0 || steps <= schedule.steps, "steps: ", steps, " is more than the ",
        schedule.steps, " of the chain; use at most ", schedule.steps);
}

/// 2i rounded(a / b) without floating point, halves up.
int64_t rounded_quotient(int64_t a, int64_t b) { return (2 * a + b) / (2 * b); }

}  // namespace

Path path_through(const Schedule& chain, const std::vector<int64_t>& steps) {
  check(chain.steps > 0, "path: ", chain.name,
        " is continuous; a list of steps belongs to a chain");
  Path path;
  for (size_t i = 0; i < steps.size(); ++i) {
    check(steps[i] >= 1 && steps[i] <= chain.steps, "path: step ", steps[i], " is not in 1..",
          chain.steps);
    check(i == 0 || steps[i] < steps[i - 1], "path: steps must fall from noise to data, got ",
          steps[i], " after ", steps[i - 1]);
    path.push_back(chain_level(chain, steps[i]));
  }
  check(!path.empty(), "path: needs at least one step");
  path.push_back(clean);
  return path;
}

std::vector<int64_t> trailing_steps(int64_t length, int64_t steps) {
  std::vector<int64_t> out;
  for (int64_t k = 0; k < steps; ++k) out.push_back(rounded_quotient((steps - k) * length, steps));
  return out;
}

std::vector<int64_t> leading_steps(int64_t length, int64_t steps) {
  std::vector<int64_t> out;
  for (int64_t k = steps - 1; k >= 0; --k) out.push_back(k * (length / steps) + 1);
  return out;
}

std::vector<int64_t> linspace_steps(int64_t length, int64_t steps) {
  if (steps == 1) return {length};
  std::vector<int64_t> out;
  for (int64_t k = steps - 1; k >= 0; --k)
    out.push_back(1 + rounded_quotient(k * (length - 1), steps - 1));
  return out;
}

Path chain_path(const Schedule& chain) { return sampling_path(chain, chain.steps); }

Path sampling_path(const Schedule& schedule, int64_t steps) {
  check_steps(schedule, steps);
  if (schedule.steps > 0) return path_through(schedule, trailing_steps(schedule.steps, steps));
  Path path;
  const double range = schedule.t_max - schedule.t_min;
  for (int64_t k = 0; k < steps; ++k)
    path.push_back(
        schedule.at(schedule.t_max - range * static_cast<double>(k) / static_cast<double>(steps)));
  path.push_back(clean);
  return path;
}

Path bound_path(const Schedule& schedule, int64_t steps) {
  if (schedule.steps > 0) {
    Path path = sampling_path(schedule, steps);
    path.pop_back();
    return path;
  }
  check(steps >= 1, "steps: expected 1 or more, got ", steps);
  Path path;
  const double range = schedule.t_max - schedule.t_min;
  for (int64_t k = steps; k >= 0; --k)
    path.push_back(
        schedule.at(schedule.t_min + range * static_cast<double>(k) / static_cast<double>(steps)));
  return path;
}

double time_of_log_snr(const Schedule& schedule, double wanted) {
  check(schedule.steps == 0, "log-SNR: ", schedule.name, " is a chain; use interpolated(chain)");
  double low = schedule.t_min, high = schedule.t_max;  // log-SNR falls with t
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = 0.5 * (low + high);
    if (middle == low || middle == high) break;
    (log_snr(schedule.at(middle)) > wanted ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

Path log_snr_path(const Schedule& schedule, int64_t steps) {
  check(steps >= 2, "log_snr_path: needs at least 2 levels, got ", steps);
  check(schedule.steps == 0, "log_snr_path: ", schedule.name,
        " is a chain; use interpolated(chain)");
  const Level noise = schedule.at(schedule.t_max), data = schedule.at(schedule.t_min);
  check(noise.alpha > 0, "log_snr_path: ", schedule.name,
        " ends in pure noise, where log-SNR is infinite; lower t_max");
  const double first = log_snr(noise), last = log_snr(data);
  Path path{noise};
  for (int64_t k = 1; k + 1 < steps; ++k)
    path.push_back(
        schedule.at(time_of_log_snr(schedule, first + (last - first) * static_cast<double>(k) /
                                                          static_cast<double>(steps - 1))));
  path.push_back(data);
  return path;
}

Path karras_path(const Schedule& schedule, int64_t steps, double rho) {
  // Karras et al. 2022 (arXiv:2206.00364), eq. 5, in noise-to-signal sigma / alpha.
  check(steps >= 1, "karras_path: expected 1 step or more, got ", steps);
  check(rho > 0, "karras_path: expected rho > 0, got ", rho);
  const auto ratio = [&](double t) { return std::exp(-0.5 * log_snr(schedule.at(t))); };
  const double high = std::pow(ratio(schedule.t_max), 1 / rho),
               low = std::pow(ratio(schedule.t_min), 1 / rho);
  check(std::isfinite(high), "karras_path: ", schedule.name, " ends in pure noise; lower t_max");
  Path path;
  for (int64_t k = 0; k < steps; ++k) {
    const double part = steps == 1 ? 0 : static_cast<double>(k) / static_cast<double>(steps - 1);
    const double sigma = std::pow(high + part * (low - high), rho);
    path.push_back(k == 0 ? schedule.at(schedule.t_max)
                          : schedule.at(time_of_log_snr(schedule, -2 * std::log(sigma))));
  }
  path.push_back(clean);
  return path;
}

}  // namespace tweedie
