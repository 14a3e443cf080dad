// The reverse SDE with steps of its own choosing, each sample its own, along one Brownian path.
#pragma once

#include "tweedie/base/fields.h"
#include "tweedie/model/sampler.h"

namespace tweedie {

struct SdeAdaptiveOptions {
  double rtol = 0.05, atol = 0.01;
  int64_t first_steps = 8;
  int64_t max_evaluations = 2000;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("rtol", rtol, "error of a step relative to the state");
    visit("atol", atol, "absolute error of a step");
    visit("first_steps", first_steps, "steps, even in log-SNR, that are halved where needed");
    visit("max_evaluations", max_evaluations, "for each sample; more is an error");
  }
};

/// A step is taken twice with the same noise: with the prediction at its start alone
/// (SDE-DPM-Solver++ of order 1), and with those at both its ends; their difference is its error
/// (the idea of Jolicoeur-Martineau et al. 2021, arXiv:2105.14080).  Where it is too large the step
/// is halved and the Brownian path bridged, so that no noise that was seen is thrown away, which
/// would bias the samples.  From the path's first level to its last noisy one, then to clean data
/// if the path ends there.  Each sample has its own steps: its result is that of the sample alone.
/// Throws Error where a sample needs more than max_evaluations, and on a path that does not know
/// its schedule.
Sampler sde_adaptive(SdeAdaptiveOptions options = {});

}  // namespace tweedie
