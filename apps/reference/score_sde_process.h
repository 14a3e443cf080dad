// score_sde's SDEs (sde_lib.py) as levels of ours.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tweedie/base/json.h"
#include "tweedie/process/schedule.h"

namespace tweedie::reference {

struct SongSde {
  std::string name;  // vesde, vpsde, subvpsde
  Schedule schedule;
  int64_t steps;                                        // N
  std::function<Level(int64_t i)> discrete;             // i-th of `steps` levels; -1: before them
  std::function<std::vector<double>()> discrete_table;  // discrete_betas or discrete_sigmas

  /// The peer's index of the level at t.
  int64_t index_of(double t) const;
};

/// From "sde", "N", and "beta_min", "beta_max" or "sigma_min", "sigma_max".  Sub-VP has no levels.
/// Throws Error on another SDE.
SongSde song_sde(const Json& config);

}  // namespace tweedie::reference
