// The probability flow by an adaptive solver: as many evaluations as the tolerance needs.
#pragma once

#include "tweedie/base/fields.h"
#include "tweedie/model/sampler.h"

namespace tweedie {

struct OdeSamplerOptions {
  double rtol = 1e-3, atol = 1e-3;
  int64_t max_evaluations = 1000;
  bool clip = false;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("rtol", rtol, "relative tolerance of a step");
    visit("atol", atol, "absolute tolerance of a step");
    visit("max_evaluations", max_evaluations, "of the network for each sample, an error beyond");
    visit("clip", clip, "clamp the predicted x0 to [-1, 1]");
  }
};

/// Dormand & Prince's method in y = x / alpha against log(sigma / alpha), from the path's first
/// level to its last noisy one; if the path ends in clean data, then E[x_0 | x] there.  The levels
/// between are the solver's own, and every sample's steps are its own.  Of a path that begins in
/// pure noise (alpha = 0) the first step is ddim's, to its second level.  Throws Error on a path
/// made by hand, which has no levels between those listed.
Sampler ode(OdeSamplerOptions options = {});

}  // namespace tweedie
