// The levels that training visits where all count alike, as a function of u in [0, 1).
#pragma once

#include "tweedie/process/schedule.h"

namespace tweedie {

struct TrainingLevels {
  std::function<Level(double u)> draw;             // inverse CDF
  std::function<double(const Level&)> place;       // the u of a level, the middle of a chain's step
  std::function<double(const Level&)> bound_rate;  // -1/2 d log_snr / du, continuous schedules only
};

/// Every step of a chain alike; on a continuous schedule every t alike, or every log-SNR where
/// equal steps of t make no sense (edm, whose t is the noise itself).
TrainingLevels even_levels(const Schedule& schedule);

/// Every log-SNR of a continuous schedule alike.  Throws Error on a chain and where log-SNR is not
/// finite at both ends.
TrainingLevels even_in_log_snr(const Schedule& schedule);

}  // namespace tweedie
