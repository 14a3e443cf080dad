#include "tweedie/process/path.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>

#include "tweedie/base/error.h"
#include "tweedie/base/fields.h"

namespace tweedie {
namespace {

Level chain_level(const Schedule& chain, int64_t i) {
  return chain.at(static_cast<double>(i) / static_cast<double>(chain.steps));
}

void check_count(int64_t length, int64_t steps) {
  check(steps >= 1, "steps: expected 1 or more, got ", steps);
  check(steps <= length, "steps: ", steps, " is more than the ", length,
        " of the chain; use at most ", length);
}

void check_steps(const Schedule& schedule, int64_t steps) {
  check_count(schedule.steps > 0 ? schedule.steps : std::numeric_limits<int64_t>::max(), steps);
}

/// log(sigma / alpha) of Karras et al. 2022 (arXiv:2206.00364), eq. 5, from noise to data.
std::vector<double> karras_log_ratios(const Schedule& schedule, int64_t steps, double rho) {
  check(rho > 0, "karras_path: expected rho > 0, got ", rho);
  const Level noise = schedule.at(schedule.t_max), data = schedule.at(schedule.t_min);
  check(noise.alpha > 0, "karras_path: ", schedule.name,
        " ends in pure noise (alpha = 0); lower t_max or take a chain without zero_terminal_snr");
  const double high = std::exp(-0.5 * log_snr(noise) / rho),
               low = std::exp(-0.5 * log_snr(data) / rho);
  std::vector<double> out;
  for (int64_t k = 0; k < steps; ++k) {
    const double part = steps == 1 ? 0 : static_cast<double>(k) / static_cast<double>(steps - 1);
    out.push_back(rho * std::log(high + part * (low - high)));
  }
  return out;
}

/// Even steps of t from t_max, the last one a step above t_min, then `clean`.
Path time_path(const Schedule& schedule, int64_t steps) {
  Path path;
  const double range = schedule.t_max - schedule.t_min;
  for (int64_t k = 0; k < steps; ++k)
    path.push_back(
        schedule.at(schedule.t_max - range * static_cast<double>(k) / static_cast<double>(steps)));
  path.push_back(clean);
  path.between = curve_of(schedule);
  return path;
}

/// Even steps of t from t_max to a thousandth of it, then `clean`: the grid of diffusers'
/// flow-matching schedulers, whose chains have a thousand steps.
Path linspace_time_path(const Schedule& schedule, int64_t steps) {
  const double last = std::max(schedule.t_min, schedule.t_max / 1000);
  Path path;
  for (int64_t k = 0; k < steps; ++k) {
    const double part = steps == 1 ? 0 : static_cast<double>(k) / static_cast<double>(steps - 1);
    path.push_back(schedule.at(schedule.t_max + part * (last - schedule.t_max)));
  }
  path.push_back(clean);
  path.between = curve_of(schedule);
  return path;
}

/// a / b rounded to whole numbers without floating point, halves up.
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
  path.between = curve_of(chain);
  return path;
}

std::vector<int64_t> trailing_steps(int64_t length, int64_t steps) {
  check_count(length, steps);
  std::vector<int64_t> out;
  for (int64_t k = 0; k < steps; ++k) out.push_back(rounded_quotient((steps - k) * length, steps));
  return out;
}

std::vector<int64_t> leading_steps(int64_t length, int64_t steps) {
  check_count(length, steps);
  std::vector<int64_t> out;
  for (int64_t k = steps - 1; k >= 0; --k) out.push_back(k * (length / steps) + 1);
  return out;
}

std::vector<int64_t> linspace_steps(int64_t length, int64_t steps) {
  check_count(length, steps);
  if (steps == 1) return {length};
  std::vector<int64_t> out;
  for (int64_t k = steps - 1; k >= 0; --k)
    out.push_back(1 + rounded_quotient(k * (length - 1), steps - 1));
  return out;
}

std::vector<int64_t> karras_steps(const Schedule& chain, int64_t steps, double rho) {
  check(chain.steps > 0, "karras_steps: ", chain.name, " is continuous; use karras_path");
  check_steps(chain, steps);
  const std::vector<double> wanted = karras_log_ratios(chain, steps, rho);
  std::vector<int64_t> out;
  int64_t nearest = chain.steps;
  for (int64_t k = 0; k < steps; ++k) {
    const auto distance = [&](int64_t i) {
      return std::abs(-0.5 * log_snr(chain_level(chain, i)) - wanted[static_cast<size_t>(k)]);
    };
    while (nearest > 1 && distance(nearest - 1) <= distance(nearest)) --nearest;
    // Below the step before, with room for those still to come.
    const int64_t most = out.empty() ? chain.steps : out.back() - 1;
    out.push_back(std::clamp(nearest, steps - k, most));
  }
  return out;
}

Path chain_path(const Schedule& chain) { return sampling_path(chain, chain.steps); }

Path sampling_path(const Schedule& schedule, int64_t steps) {
  check_steps(schedule, steps);
  if (schedule.steps > 0) return path_through(schedule, trailing_steps(schedule.steps, steps));
  if (!schedule.even_in_t) return karras_path(schedule, steps);
  return time_path(schedule, steps);
}

Path bound_path(const Schedule& schedule, int64_t steps) {
  if (schedule.steps > 0) {
    Path path = sampling_path(schedule, steps);
    path.pop_back();
    return path;
  }
  check_steps(schedule, steps);
  if (!schedule.even_in_t) return log_snr_path(schedule, steps + 1);
  Path path;
  const double range = schedule.t_max - schedule.t_min;
  for (int64_t k = steps; k >= 0; --k)
    path.push_back(
        schedule.at(schedule.t_min + range * static_cast<double>(k) / static_cast<double>(steps)));
  path.between = curve_of(schedule);
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

Curve curve_of(const Schedule& schedule) {
  if (schedule.steps > 0) {  // its interpolation is made at the first call: few solvers need it
    struct Later {
      std::once_flag made;
      Curve curve;
    };
    return [chain = schedule, later = std::make_shared<Later>()](double wanted) {
      std::call_once(later->made, [&] { later->curve = curve_of(interpolated(chain)); });
      return later->curve(wanted);
    };
  }
  return [schedule](double wanted) { return schedule.at(time_of_log_snr(schedule, wanted)); };
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
  path.between = curve_of(schedule);
  for (int64_t k = 1; k + 1 < steps; ++k)
    path.push_back(path.between(first + (last - first) * static_cast<double>(k) /
                                            static_cast<double>(steps - 1)));
  path.push_back(data);
  return path;
}

Path karras_path(const Schedule& schedule, int64_t steps, double rho) {
  if (schedule.steps > 0) return path_through(schedule, karras_steps(schedule, steps, rho));
  check_steps(schedule, steps);
  Path path;
  path.between = curve_of(schedule);
  for (const double log_ratio : karras_log_ratios(schedule, steps, rho))
    path.push_back(path.empty() ? schedule.at(schedule.t_max) : path.between(-2 * log_ratio));
  path.push_back(clean);
  return path;
}

std::vector<std::string> path_names() {
  return {"auto",       "trailing", "leading", "linspace", "leading+1",
          "linspace+1", "time",     "karras",  "log-snr"};
}

Path named_path(const std::string& name, const Schedule& schedule, int64_t steps) {
  const bool chain = schedule.steps > 0;
  if (name == "auto") return sampling_path(schedule, steps);
  if (name == "karras") return karras_path(schedule, steps);
  if (name == "log-snr") {
    if (steps < 2) return sampling_path(schedule, steps);
    Path path = log_snr_path(chain ? interpolated(schedule) : schedule, steps);
    path.push_back(clean);
    return path;
  }
  if (name == "time") {
    check(!chain, "path 'time': ", schedule.name, " is a chain; use trailing");
    check_steps(schedule, steps);
    return time_path(schedule, steps);
  }
  const std::vector<std::string> known = path_names();
  check(std::find(known.begin(), known.end(), name) != known.end(), "unknown path '", name, "'",
        suggestion(name, known));
  if (!chain && name == "linspace" && schedule.even_in_t) {
    check_steps(schedule, steps);
    return linspace_time_path(schedule, steps);
  }
  check(chain, "path '", name, "': ", schedule.name, " is continuous; use time, karras or log-snr");
  const int64_t length = schedule.steps;
  if (name.ends_with("+1")) {  // one more, without the cleanest
    check(steps < length, "steps: ", steps, " of path '", name, "' need a chain of ", steps + 1,
          "; it has ", length);
    std::vector<int64_t> all =
        name == "leading+1" ? leading_steps(length, steps + 1) : linspace_steps(length, steps + 1);
    all.pop_back();
    return path_through(schedule, all);
  }
  return path_through(schedule, name == "trailing"  ? trailing_steps(length, steps)
                                : name == "leading" ? leading_steps(length, steps)
                                                    : linspace_steps(length, steps));
}

}  // namespace tweedie
