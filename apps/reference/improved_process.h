// improved-diffusion's GaussianDiffusion in our terms: a respaced chain and what its networks mean.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/json.h"
#include "tweedie/process/parameterisation.h"
#include "tweedie/process/path.h"

namespace tweedie::reference {

struct ImprovedProcess {
  Schedule chain;
  std::vector<int64_t> kept;  // timesteps of the chain, rising
  double label_scale;         // the network hears of t, or with rescale_timesteps of t 1000 / T

  /// From config.schedule, .T, .respacing and .rescale_timesteps.
  explicit ImprovedProcess(const Json& config);

  /// From noise to data, then `clean`.
  Path path() const;
  NoiseLabel label() const;
  Level level_of_label(double label) const;
};

/// Mean type EPSILON, START_X or PREVIOUS_X (F is the mean of q(x_s | x_t, x_0), where s follows t
/// in `path`).
Parameterisation improved_parameterisation(const std::string& mean, const NoiseLabel& label,
                                           const Path& path);

/// The level after `level` in a path from noise to data.  Throws Error if there is none.
const Level& level_after(const Path& path, const Level& level);

}  // namespace tweedie::reference
