#include <algorithm>
#include <cmath>
#include <vector>

#include "tweedie/base/error.h"
#include "tweedie/process/path.h"
#include "tweedie/process/training_levels.h"
#include "tweedie/process/weighting.h"

namespace tweedie {
namespace {

/// [0, 1] in the cells that levels are drawn from: the steps of a chain, or parts of a continuous
/// schedule that are alike in log-SNR, within which a weight hardly changes.
std::vector<double> cell_edges(const Schedule& schedule, const TrainingLevels& even) {
  const size_t cells = schedule.steps > 0 ? static_cast<size_t>(schedule.steps) : 4096;
  std::vector<double> edges = {0};
  const TrainingLevels by_log_snr =
      schedule.steps > 0 ? TrainingLevels{} : even_in_log_snr(schedule);
  for (size_t i = 1; i < cells; ++i) {
    const double part = static_cast<double>(i) / static_cast<double>(cells);
    edges.push_back(schedule.steps > 0 ? part : even.place(by_log_snr.draw(part)));
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

Objective drawn_by_weight(Objective objective, const Schedule& schedule) {
  check(objective.kind == LossKind::error, "objective ", objective.name,
        ": does not weigh levels; leave by_weight out");
  const TrainingLevels even = even_levels(schedule);
  for (const double u : {0.1, 0.5, 0.9})
    check(
        objective.draw(u).t == even.draw(u).t, "objective ", objective.name,
        ": draws its levels in its own way, not in proportion to its weight; leave by_weight out");
  // u below which each cell begins, and the mean weight of the cells before it.
  const std::vector<double> edges = cell_edges(schedule, even);
  std::vector<double> below = {0};
  for (size_t i = 0; i + 1 < edges.size(); ++i) {
    const double weight = objective.weight(even.draw((edges[i] + edges[i + 1]) / 2));
    check(weight > 0 && std::isfinite(weight), "objective ", objective.name, ": has the weight ",
          weight, " on ", schedule.name, ", which levels cannot be drawn in proportion to");
    below.push_back(below.back() + weight * (edges[i + 1] - edges[i]));
  }
  objective.draw = [draw = even.draw, edges, below](double u) {
    const double target = u * below.back();
    const size_t cell = cell_of(below, target);
    const double within = (target - below[cell]) / (below[cell + 1] - below[cell]);
    return draw(edges[cell] + std::min(within, 1 - 1e-9) * (edges[cell + 1] - edges[cell]));
  };
  // A cell is drawn as often as before times the weight of its middle over the mean weight.
  objective.weight = [weight = objective.weight, place = even.place, edges,
                      below](const Level& level) {
    const size_t cell = cell_of(edges, place(level));
    const double drawn = (below[cell + 1] - below[cell]) / (edges[cell + 1] - edges[cell]);
    return weight(level) * below.back() / drawn;
  };
  return objective;
}

}  // namespace tweedie
