// What a network's output F means: x0 = c_skip x_t + c_out F(c_in x_t, c_noise).  Karras et al.
// 2022 (arXiv:2206.00364), eq. 7.
#pragma once

#include <functional>

#include "tweedie/process/level.h"

namespace tweedie {

struct Scaling {
  double c_skip, c_out, c_in, c_noise;
};
using Parameterisation = std::function<Scaling(const Level&)>;

/// What the network is told of the level.
using NoiseLabel = std::function<double(const Level&)>;

Parameterisation eps_prediction(NoiseLabel label);
Parameterisation x0_prediction(NoiseLabel label);
Parameterisation v_prediction(NoiseLabel label);
Parameterisation velocity_prediction(NoiseLabel label);
Parameterisation score_prediction(NoiseLabel label);
Parameterisation edm_prediction(double sigma_data = 0.5);

// Karras et al. 2022 (arXiv:2206.00364), table 1, as processes of any alpha: they know the level by
// its noise-to-signal ratio alone, so that one network serves every process.
/// Column VE: F = -eps on x_t / alpha, told log(sigma / (2 alpha)).
Parameterisation ve_prediction();
/// F = the score of x_t / alpha / data_scale, told the sigma of that: score SDE's VE networks
/// (arXiv:2011.13456), whose data are in [0, 1] where ours are in [-1, 1] (data_scale = 2).
Parameterisation ve_score_prediction(double data_scale = 1);
/// Column VP: F = eps on x_t scaled to variance 1, told 999 t of the VP SDE with the nearest sigma
/// / alpha.
Parameterisation vp_prediction(double beta_min = 0.1, double beta_max = 20);
/// Column iDDPM: F = eps on x_t scaled to variance 1 (for data of variance 1), told which step of
/// the cosine chain of `steps` has the nearest sigma / alpha, counted from 0; -1 is clean data.
Parameterisation iddpm_prediction(int64_t steps = 1000);

}  // namespace tweedie
