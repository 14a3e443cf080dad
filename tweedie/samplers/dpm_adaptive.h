// DPM-Solver with steps of its own choosing, each sample its own.
#pragma once

#include <string>

#include "tweedie/base/fields.h"
#include "tweedie/model/sampler.h"

namespace tweedie {

struct DpmAdaptiveOptions {
  int64_t order = 3;
  std::string form = "eps";
  double rtol = 0.05, atol = 0.0078;
  double first_step = 0.05;
  double proportional = 0, integral = 1, derivative = 0;
  double safety = 0.81;
  double eta = 0;
  int64_t max_evaluations = 1000;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("order", order, "2 or 3, with an error estimate of one order less");
    visit("form", form, "eps or x0");
    visit("rtol", rtol, "error of a step relative to the state");
    visit("atol", atol, "absolute error of a step");
    visit("first_step", first_step, "in half log-SNR");
    visit("proportional", proportional, "weight of the step-size controller's P");
    visit("integral", integral, "its I");
    visit("derivative", derivative, "its D");
    visit("safety", safety, "a step is taken if it need not shrink below this factor");
    visit("eta", eta, "share of ancestral noise: 0 none, 1 all");
    visit("max_evaluations", max_evaluations, "for each sample; more is an error");
  }
};

/// Lu et al. 2022 (arXiv:2206.00927), section 3.4 and appendix C, with the PID controller of
/// Söderlind 2003, from the path's first level to its last noisy one (then to clean data, if it
/// ends there).  Each sample of the batch has its own steps and error, so its result is that of the
/// sample alone.  Throws Error where a sample needs more than max_evaluations, and on a path that
/// does not know its schedule.
Sampler dpm_adaptive(DpmAdaptiveOptions options = {});

}  // namespace tweedie
