#include "tweedie/process/weighting.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tweedie/base/error.h"
#include "tweedie/process/path.h"
#include "tweedie/process/training_levels.h"

namespace tweedie {
namespace {

double sech_of_half(double log_snr) { return 1 / std::cosh(0.5 * log_snr); }

/// What the bell is multiplied by beside the bound's own weight, so that both have the same total:
/// 1 over the bound's mean of it.
double bell_scale(const Schedule& schedule, const Objective& vlb) {
  if (schedule.steps == 0) {
    // The bound counts every log-SNR alike, and the integral of sech(x / 2) is 4 atan(tanh(x / 4)).
    const auto integral = [](double x) { return 4 * std::atan(std::tanh(x / 4)); };
    const double cleanest = log_snr(schedule.at(schedule.t_min)),
                 noisiest = log_snr(schedule.at(schedule.t_max));
    return (cleanest - noisiest) / (integral(cleanest) - integral(noisiest));
  }
  double whole = 0, belled = 0;
  for (int64_t i = 1; i <= schedule.steps; ++i) {
    const Level level = schedule.at(static_cast<double>(i) / static_cast<double>(schedule.steps));
    whole += vlb.weight(level);
    belled += vlb.weight(level) * sech_of_half(log_snr(level));
  }
  return whole / belled;
}

}  // namespace

Objective simple_objective(const Schedule& schedule) {
  return {"simple", even_levels(schedule).draw, [](const Level&) { return 1.0; }};
}

Objective unweighted_objective(const Schedule& schedule) {
  Objective objective = simple_objective(schedule);
  objective.name = "unweighted";
  objective.error = ErrorOf::output;
  return objective;
}

Objective vlb_objective(const Schedule& schedule) {
  const TrainingLevels even = even_levels(schedule);
  if (schedule.steps > 0) {
    check(schedule.steps >= 2, "objective vlb: needs a chain of at least 2 steps");
    check(schedule.at(schedule.t_max).alpha > 0, "objective vlb: ", schedule.name,
          " ends in pure noise (alpha = 0), where the weight of the eps error is infinite; use "
          "objective simple or a chain without zero_terminal_snr");
    return {"vlb", even.draw,
            [at = schedule.at, steps = static_cast<double>(schedule.steps)](const Level& level) {
              const double i = std::max(2.0, std::round(level.t * steps));
              return 0.5 * steps *
                     std::expm1(log_snr(at((i - 1) / steps)) - log_snr(at(i / steps)));
            }};
  }
  return {"vlb", even.draw, even.bound_rate};
}

Objective likelihood_objective(const Schedule& schedule) {
  Objective objective;
  if (schedule.steps > 0) {
    objective = drawn_by_weight(vlb_objective(schedule), schedule);
  } else {
    const TrainingLevels even = even_in_log_snr(schedule);
    objective = {"", even.draw, even.bound_rate};
  }
  objective.name = "likelihood";
  return objective;
}

Objective mixed_objective(const Schedule& schedule, double vlb_share) {
  check(vlb_share >= 0 && vlb_share <= 1, "objective mixed: expected vlb_share in [0, 1], got ",
        vlb_share);
  check(schedule.at(schedule.t_max).alpha > 0, "objective mixed: ", schedule.name,
        " ends in pure noise (alpha = 0), where the bound's weight has no finite total; use "
        "objective simple, or end the schedule before it (flow: schedule.t_max=0.999)");
  const Objective vlb = vlb_objective(schedule);
  const double scale = bell_scale(schedule, vlb);
  return {"mixed", vlb.draw, [weight = vlb.weight, scale, vlb_share](const Level& level) {
            return weight(level) *
                   (vlb_share + (1 - vlb_share) * scale * sech_of_half(log_snr(level)));
          }};
}

Objective hybrid_objective(const Schedule& schedule, double vlb_weight) {
  check(schedule.steps >= 2, "objective hybrid: needs a chain of at least 2 steps; ", schedule.name,
        schedule.steps == 0 ? " is continuous" : " has 1");
  check(vlb_weight > 0 && std::isfinite(vlb_weight),
        "objective hybrid: expected vlb_weight > 0, got ", vlb_weight);
  Objective objective = simple_objective(schedule);
  objective.name = "hybrid";
  objective.kind = LossKind::hybrid;
  objective.vlb_weight = vlb_weight;
  return objective;
}

Objective bound_objective(const Schedule& schedule) {
  check(schedule.steps >= 2, "objective bound: needs a chain of at least 2 steps; ", schedule.name,
        schedule.steps == 0 ? " is continuous, use objective vlb" : " has 1");
  Objective objective = simple_objective(schedule);
  objective.name = "bound";
  objective.kind = LossKind::bound;
  return objective;
}

Objective min_snr_objective(const Schedule& schedule, double cap) {
  check(cap > 0, "objective min-snr: expected cap > 0, got ", cap);
  return {"min-snr", even_levels(schedule).draw,
          [cap](const Level& level) { return std::min(1.0, cap * std::exp(-log_snr(level))); }};
}

Objective edm_objective(const Schedule& schedule, double log_mean, double log_std,
                        double sigma_data) {
  check(schedule.steps == 0, "objective edm: needs a continuous schedule; ", schedule.name,
        " is a chain");
  check(log_std > 0 && sigma_data > 0,
        "objective edm: expected log_std > 0 and sigma_data > 0, got ", log_std, " and ",
        sigma_data);
  return {"edm",
          [=](double u) {
            const double p = std::clamp(u, 1e-12, 1 - 1e-12),
                         log_sigma = log_mean + log_std * normal_quantile(p);
            return schedule.at(time_of_log_snr(schedule, -2 * log_sigma));
          },
          [=](const Level& level) {
            // Their weight (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 is on the x0 error,
            // which is sigma^2 times the eps error.
            const double sigma_sq = std::exp(-log_snr(level));
            return (sigma_sq + sigma_data * sigma_data) / (sigma_data * sigma_data);
          }};
}

double normal_quantile(double p) {
  check(p > 0 && p < 1, "normal_quantile: expected p in (0, 1), got ", p);
  double low = -39, high = 39;
  for (int i = 0; i < 120; ++i) {
    const double middle = 0.5 * (low + high);
    (0.5 * std::erfc(-middle / std::numbers::sqrt2) < p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

}  // namespace tweedie
