// Steps of a chain, or parts of continuous time, drawn where the loss is large and uncertain,
// instead of uniformly.
#pragma once

#include <cstdint>
#include <vector>

#include "tweedie/base/json.h"

namespace tweedie {

struct LossAwareOptions {
  int64_t history = 10;          // losses remembered of each step
  double uniform_share = 0.001;  // probability left for a uniform draw, so that no step starves
  template <class Visit>
  void fields(Visit&& visit) {
    visit("history", history, "losses remembered of each step");
    visit("uniform_share", uniform_share, "part of the draws that stays uniform");
  }
};

/// Nichol & Dhariwal 2021 (arXiv:2102.09672), eq. 18: step t of 1..T (of a chain, or of T equal
/// parts of the training levels) with probability p_t in proportion to the root mean square of its
/// latest losses.  Uniform until every step has a full history.  With `weight` 1 / (T p_t) the mean
/// of weighted losses stays the mean over the steps.
class LossAwareSteps {
 public:
  /// Throws Error if steps < 1, history < 1 or uniform_share is not in (0, 1].
  explicit LossAwareSteps(int64_t steps, const LossAwareOptions& options = {});

  struct Draw {
    int64_t step;
    double weight, within;  // within: the place of u inside the step's part of [0, 1), in [0, 1)
  };
  /// Inverse CDF of each u in [0, 1).
  std::vector<Draw> draw(const std::vector<double>& uniforms) const;
  int64_t size() const { return static_cast<int64_t>(losses_.size()); }  // T
  /// p_1..p_T, of sum 1.
  std::vector<double> probabilities() const;
  /// Takes the unweighted loss of one example at `step`.  Throws Error if it is not finite.
  void record(int64_t step, double loss);

  /// Everything remembered, for a checkpoint; `restore` throws Error if it belongs to another
  /// chain.
  Json state() const;
  void restore(const Json& state);

 private:
  LossAwareOptions options_;
  std::vector<std::vector<double>> losses_;  // of each step, the oldest first
};

}  // namespace tweedie
