// Euler's and Heun's methods with churn: the samplers of EDM.
#pragma once

#include <limits>
#include <string>

#include "tweedie/base/fields.h"
#include "tweedie/model/sampler.h"

namespace tweedie {

struct RungeKuttaOptions {
  int64_t order = 2;
  std::string clock = "ratio";
  double stage = 1;
  std::string inner = "even";
  double churn = 0, churn_min = 0, churn_max = std::numeric_limits<double>::max(), churn_noise = 1;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("order", order, "1: Euler, 2: Heun and its kin");
    visit("clock", clock,
          "ratio: straight in sigma / alpha for x / alpha (EDM); time: straight in t for x (flow "
          "matching)");
    visit("stage", stage, "place of the second evaluation in the step: 1 Heun, 0.5 midpoint");
    visit("inner", inner,
          "even: a stage inside the step is placed in sigma / alpha; geometric: in its logarithm "
          "(DPM2)");
    visit("churn", churn, "EDM's S_churn: noise that is added and removed again; 0: none");
    visit("churn_min", churn_min, "only where sigma / alpha is above");
    visit("churn_max", churn_max, "only where sigma / alpha is below");
    visit("churn_noise", churn_noise, "EDM's S_noise: amplitude of the added noise");
  }
};

/// Karras et al. 2022 (arXiv:2206.00364), algorithms 1 to 3, on any path.  One evaluation a step,
/// or for order 2 two; the step to clean data is Euler's, and so is one from pure noise.  With
/// clock=time a step to clean data leaves what is straight in x only where the schedule is: on
/// others some noise stays.
Sampler runge_kutta(RungeKuttaOptions options = {});

}  // namespace tweedie
