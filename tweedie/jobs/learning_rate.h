// The learning rate and the averages' decay over a run.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tweedie/jobs/config.h"

namespace tweedie {

/// What `train.decay` leaves of the learning rate, from 1 to 0, where `late` in [0, 1] is the
/// fraction of the decay that is done.  Restarts: Loshchilov & Hutter 2017 (arXiv:1608.03983), eq.
/// 5, with cycles of equal length.
inline double decay_left(const TrainConfig& train, double late) {
  const auto cosine = [](double part) { return 0.5 * (1 + std::cos(std::numbers::pi * part)); };
  if (train.decay == "linear") return 1 - late;
  if (train.decay == "cosine") return cosine(late);
  if (train.decay == "polynomial") return std::pow(1 - late, train.decay_power);
  if (train.decay == "restarts")
    return late < 1 ? cosine(std::fmod(static_cast<double>(train.decay_cycles) * late, 1.0)) : 0;
  return 1;
}

/// Rises linearly over the first `warmup` steps (`step` counts from 1), then stays, then decays to
/// `decay_to` of itself between the fraction `decay_from` of the run and its end; `progress` in [0,
/// 1] is the fraction of the run that is done.
inline double learning_rate(const TrainConfig& train, int64_t step, double progress) {
  const double rise =
      train.warmup > 0
          ? std::min(1.0, static_cast<double>(step) / static_cast<double>(train.warmup))
          : 1;
  const double late = std::clamp((progress - train.decay_from) / (1 - train.decay_from), 0.0, 1.0);
  return train.learning_rate * rise *
         (train.decay_to + (1 - train.decay_to) * decay_left(train, late));
}

/// What an average of decay `rate` keeps of itself at optimiser step `step`, which counts from 1: 0
/// until it begins, then less than its rate while it warms up.
inline double average_keep(const TrainConfig& train, double rate, int64_t step) {
  if (step <= train.ema_after) return 0;
  const double n = static_cast<double>(step - train.ema_after);
  if (!train.ema_warmup) return rate;
  return std::min(rate,
                  train.ema_power > 0 ? 1 - std::pow(1 + n, -train.ema_power) : (1 + n) / (10 + n));
}

}  // namespace tweedie
