// Processes of a user's own: a linear SDE, a curve or a chain, each from functions.
#pragma once

#include <functional>
#include <string>

#include "tweedie/process/schedule.h"

namespace tweedie {

/// dx = drift(t) x dt + diffusion(t) dw from t = 0, noise growing with t.
struct LinearSde {
  std::function<double(double t)> drift, diffusion;
  double t_min = 1e-5,
         t_max = 1;        // what the schedule has of it; both functions are asked of [0, t_max]
  double sigma_start = 0;  // noise that is there at t = 0 (VE)
  double prior_std = 0;    // 0: the sigma at t_max
};

/// The schedule of an SDE: alpha = exp(int f), sigma^2 = alpha^2 (sigma_start^2 + int g^2 /
/// alpha^2), both from 0 to t, by quadrature to a relative 1e-10 (jumps of f and g included); exact
/// tangents alpha' = f alpha, sigma' = f sigma + g^2 / (2 sigma).  Sarkka & Solin 2019,
/// section 6.2. Throws Error where a function is missing, not finite or too rough, and where t_min
/// has no noise.
Schedule custom_schedule(std::string name, const LinearSde& sde);

/// The schedule of a known curve, whose tangents its levels must have.  Throws Error unless
/// t_min < t_max, and from `at` off that range.
Schedule custom_curve(std::string name, double t_min, double t_max, double prior_std,
                      std::function<Level(double t)> curve);

/// A chain from the noise variance beta(i) that each step i = 1..steps adds.  Throws Error as
/// chain_from_betas does.
Schedule custom_chain(std::string name, int64_t steps,
                      const std::function<double(int64_t i)>& beta);

}  // namespace tweedie
