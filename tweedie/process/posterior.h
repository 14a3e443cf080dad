// The Bayes posterior q(x_s | x_t, x_0) of the forward process, for any s < t.
#pragma once

#include "tweedie/process/level.h"

namespace tweedie {

/// q(x_s | x_t, x_0) = N(c_x x_t + c_x0 x_0, var); var_large is the variance of q(x_t | x_s)
/// ("beta").
struct Posterior {
  double c_x, c_x0, var, var_large;
};

/// Ho et al. 2020 (arXiv:2006.11239), eq. 6-7, for levels of any two times; s may be `clean`, t may
/// have alpha = 0.
Posterior posterior(const Level& s, const Level& t);

}  // namespace tweedie
