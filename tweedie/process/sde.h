// The stochastic differential equation whose marginals a schedule's levels describe.
#pragma once

#include "tweedie/process/level.h"

namespace tweedie {

/// dx = drift x dt + sqrt(diffusion_squared) dw, noise growing with t.
struct ForwardSde {
  double drift, diffusion_squared;
};

/// f = d_alpha / alpha and g^2 = 2 sigma (d_sigma - f sigma).  Throws Error at a level without a
/// tangent (a chain's) or without signal.  Kingma et al. 2021 (arXiv:2107.00630), appendix D, eq.
/// 36, whose sigma^2 moves at the rate 2 f sigma^2 + g^2.
ForwardSde forward_sde(const Level& level);

}  // namespace tweedie
