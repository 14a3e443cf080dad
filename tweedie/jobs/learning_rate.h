// The learning rate over a run.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tweedie/jobs/config.h"

namespace tweedie {

/// Rises linearly over the first `warmup` steps (`step` counts from 1), then stays, then decays to
/// 0 between the fraction `decay_from` of the run and its end; `progress` in [0, 1] is the fraction
/// of the run that is done.
inline double learning_rate(const TrainConfig& train, int64_t step, double progress) {
  const double rise =
      train.warmup > 0
          ? std::min(1.0, static_cast<double>(step) / static_cast<double>(train.warmup))
          : 1;
  const double late = std::clamp((progress - train.decay_from) / (1 - train.decay_from), 0.0, 1.0);
  const double fall = train.decay == "linear"   ? 1 - late
                      : train.decay == "cosine" ? 0.5 * (1 + std::cos(std::numbers::pi * late))
                                                : 1;
  return train.learning_rate * rise * fall;
}

}  // namespace tweedie
