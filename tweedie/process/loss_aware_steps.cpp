#include "tweedie/process/loss_aware_steps.h"

#include <algorithm>
#include <cmath>

#include "tweedie/base/error.h"

namespace tweedie {

LossAwareSteps::LossAwareSteps(int64_t steps, const LossAwareOptions& options) : options_(options) {
  check(steps >= 1, "loss-aware steps: a chain needs at least 1 step, got ", steps);
  check(options.history >= 1, "loss-aware steps: expected history >= 1, got ", options.history);
  check(options.uniform_share > 0 && options.uniform_share <= 1,
        "loss-aware steps: expected uniform_share in (0, 1], got ", options.uniform_share);
  losses_.resize(static_cast<size_t>(steps));
}

std::vector<double> LossAwareSteps::probabilities() const {
  const double uniform = 1 / static_cast<double>(losses_.size());
  std::vector<double> root_mean_square;
  double total = 0;
  for (const std::vector<double>& of_step : losses_) {
    if (static_cast<int64_t>(of_step.size()) < options_.history)
      return std::vector<double>(losses_.size(), uniform);
    double sum = 0;
    for (const double loss : of_step) sum += loss * loss;
    root_mean_square.push_back(std::sqrt(sum / static_cast<double>(of_step.size())));
    total += root_mean_square.back();
  }
  if (total == 0) return std::vector<double>(losses_.size(), uniform);
  for (double& p : root_mean_square)
    p = options_.uniform_share * uniform + (1 - options_.uniform_share) * p / total;
  return root_mean_square;
}

std::vector<LossAwareSteps::Draw> LossAwareSteps::draw(const std::vector<double>& uniforms) const {
  const std::vector<double> p = probabilities();
  std::vector<double> below = {0};  // p_1 + .. + p_i
  for (const double of_step : p) below.push_back(below.back() + of_step);
  std::vector<Draw> draws;
  for (const double u : uniforms) {
    const auto after = std::upper_bound(below.begin() + 1, below.end() - 1, u);
    const size_t i = static_cast<size_t>(after - below.begin()) - 1;
    const double within = std::clamp((u - below[i]) / p[i], 0.0, std::nextafter(1.0, 0.0));
    draws.push_back(
        {static_cast<int64_t>(i) + 1, 1 / (static_cast<double>(p.size()) * p[i]), within});
  }
  return draws;
}

void LossAwareSteps::record(int64_t step, double loss) {
  const int64_t steps = static_cast<int64_t>(losses_.size());
  check(step >= 1 && step <= steps, "loss-aware steps: step ", step, " is not in 1..", steps);
  check(std::isfinite(loss), "loss-aware steps: the loss of step ", step, " is ", loss);
  std::vector<double>& of_step = losses_[static_cast<size_t>(step - 1)];
  if (static_cast<int64_t>(of_step.size()) == options_.history) of_step.erase(of_step.begin());
  of_step.push_back(loss);
}

Json LossAwareSteps::state() const { return {{"history", options_.history}, {"losses", losses_}}; }

void LossAwareSteps::restore(const Json& state) {
  const bool shaped = state.is_object() && state.contains("losses") && state.contains("history") &&
                      state["losses"].is_array() && state["losses"].size() == losses_.size() &&
                      state["history"] == options_.history;
  check(shaped, "loss-aware steps: the state is not of a chain of ", losses_.size(),
        " steps with history ", options_.history);
  std::vector<std::vector<double>> losses;
  for (const Json& of_step : state["losses"]) {
    const bool numbers =
        of_step.is_array() && static_cast<int64_t>(of_step.size()) <= options_.history &&
        std::all_of(of_step.begin(), of_step.end(), [](const Json& x) { return x.is_number(); });
    check(numbers, "loss-aware steps: step ", losses.size() + 1,
          " of the state is no list of at most ", options_.history, " losses");
    losses.push_back(of_step.get<std::vector<double>>());
  }
  losses_ = std::move(losses);
}

}  // namespace tweedie
