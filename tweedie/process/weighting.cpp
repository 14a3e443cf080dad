#include "tweedie/process/weighting.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "tweedie/base/error.h"
#include "tweedie/process/path.h"

namespace tweedie {
namespace {

/// Every step of a chain, or every t of a continuous schedule, alike.
std::function<Level(double)> uniform_draw(const Schedule& schedule) {
  if (schedule.steps > 0)
    return [at = schedule.at, steps = schedule.steps](double u) {
      const int64_t i =
          1 + std::min(static_cast<int64_t>(u * static_cast<double>(steps)), steps - 1);
      return at(static_cast<double>(i) / static_cast<double>(steps));
    };
  return [schedule](double u) {
    return schedule.at(schedule.t_min + u * (schedule.t_max - schedule.t_min));
  };
}

double bell(const Level& level) { return 1 / std::cosh(0.5 * log_snr(level)); }

/// Mean over the training levels of uniform_draw: exact on a chain, by the midpoint rule on a
/// continuous schedule.
template <class Value>
double mean_over(const Schedule& schedule, const Value& value) {
  const auto draw = uniform_draw(schedule);
  const int64_t points = schedule.steps > 0 ? schedule.steps : 4096;
  double sum = 0;
  for (int64_t i = 0; i < points; ++i)
    sum += value(draw((static_cast<double>(i) + 0.5) / static_cast<double>(points)));
  return sum / static_cast<double>(points);
}

/// [0, 1] in the cells that levels are drawn from: the steps of a chain, or parts of a continuous
/// schedule that are alike in log-SNR, within which a weight hardly changes.
std::vector<double> cell_edges(const Schedule& schedule) {
  const size_t cells = schedule.steps > 0 ? static_cast<size_t>(schedule.steps) : 4096;
  const double cleanest = log_snr(schedule.at(schedule.t_min)),
               noisiest = log_snr(schedule.at(schedule.t_max));
  check(schedule.steps > 0 || std::isfinite(noisiest - cleanest), schedule.name,
        ": its log-SNR is not finite at both ends, so that levels cannot be drawn by weight");
  std::vector<double> edges = {0};
  for (size_t i = 1; i < cells; ++i) {
    const double part = static_cast<double>(i) / static_cast<double>(cells);
    edges.push_back(schedule.steps > 0
                        ? part
                        : (time_of_log_snr(schedule, cleanest + part * (noisiest - cleanest)) -
                           schedule.t_min) /
                              (schedule.t_max - schedule.t_min));
  }
  edges.push_back(1);
  return edges;
}

/// The i with ends[i] <= value < ends[i + 1], the first or last cell for values outside.
size_t cell_of(const std::vector<double>& ends, double value) {
  const auto next = std::upper_bound(ends.begin() + 1, ends.end() - 1, value);
  return static_cast<size_t>(next - ends.begin()) - 1;
}

}  // namespace

Objective simple_objective(const Schedule& schedule) {
  return {"simple", uniform_draw(schedule), [](const Level&) { return 1.0; }};
}

Objective vlb_objective(const Schedule& schedule) {
  const auto draw = uniform_draw(schedule);
  if (schedule.steps > 0) {
    check(schedule.steps >= 2, "objective vlb: needs a chain of at least 2 steps");
    check(schedule.at(schedule.t_max).alpha > 0, "objective vlb: ", schedule.name,
          " ends in pure noise (alpha = 0), where the weight of the eps error is infinite; use "
          "objective simple or a chain without zero_terminal_snr");
    return {"vlb", draw,
            [at = schedule.at, steps = static_cast<double>(schedule.steps)](const Level& level) {
              const double i = std::max(2.0, std::round(level.t * steps));
              return 0.5 * steps *
                     std::expm1(log_snr(at((i - 1) / steps)) - log_snr(at(i / steps)));
            }};
  }
  return {"vlb", draw, [range = schedule.t_max - schedule.t_min](const Level& level) {
            return range * (level.d_sigma / level.sigma - level.d_alpha / level.alpha);
          }};
}

Objective mixed_objective(const Schedule& schedule, double vlb_share) {
  check(vlb_share >= 0 && vlb_share <= 1, "objective mixed: expected vlb_share in [0, 1], got ",
        vlb_share);
  check(schedule.at(schedule.t_max).alpha > 0, "objective mixed: ", schedule.name,
        " ends in pure noise (alpha = 0), where the bound's weight has no finite total; use simple "
        "or lower t_max");
  const Objective vlb = vlb_objective(schedule);
  const double scale = mean_over(schedule, vlb.weight) / mean_over(schedule, bell);
  return {"mixed", vlb.draw, [weight = vlb.weight, scale, vlb_share](const Level& level) {
            return vlb_share * weight(level) + (1 - vlb_share) * scale * bell(level);
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
  return {"min-snr", uniform_draw(schedule),
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

Objective drawn_by_weight(Objective objective, const Schedule& schedule) {
  check(objective.kind == LossKind::error, "objective ", objective.name,
        ": does not weigh levels; leave by_weight out");
  const auto uniform = uniform_draw(schedule);
  for (const double u : {0.1, 0.5, 0.9})
    check(objective.draw(u).t == uniform(u).t, "objective ", objective.name,
          ": draws its levels in its own way, not in proportion to its weight");
  // u below which each cell begins, and the mean weight of the cells before it.
  const std::vector<double> edges = cell_edges(schedule);
  std::vector<double> below = {0};
  for (size_t i = 0; i + 1 < edges.size(); ++i) {
    const double weight = objective.weight(uniform((edges[i] + edges[i + 1]) / 2));
    check(weight > 0 && std::isfinite(weight), "objective ", objective.name, ": has the weight ",
          weight, " on ", schedule.name, ", which levels cannot be drawn in proportion to");
    below.push_back(below.back() + weight * (edges[i + 1] - edges[i]));
  }
  objective.draw = [uniform, edges, below](double u) {
    const double target = u * below.back();
    const size_t cell = cell_of(below, target);
    const double within = (target - below[cell]) / (below[cell + 1] - below[cell]);
    return uniform(edges[cell] + std::min(within, 1 - 1e-9) * (edges[cell + 1] - edges[cell]));
  };
  // A cell is drawn as often as before times the weight of its middle over the mean weight.
  objective.weight = [weight = objective.weight, edges, below,
                      steps = static_cast<double>(schedule.steps), first = schedule.t_min,
                      range = schedule.t_max - schedule.t_min](const Level& level) {
    const double u = steps > 0 ? level.t - 0.5 / steps : (level.t - first) / range;
    const size_t cell = cell_of(edges, u);
    const double drawn = (below[cell + 1] - below[cell]) / (edges[cell + 1] - edges[cell]);
    return weight(level) * below.back() / drawn;
  };
  return objective;
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
