// Paths: the levels that a sampler or a bound visits, from noise to data.
#pragma once

#include <vector>

#include "tweedie/process/schedule.h"

namespace tweedie {

/// Rising log-SNR; may end in `clean`.
using Path = std::vector<Level>;

/// Every level of a chain, T..1, then `clean`.
Path chain_path(const Schedule& chain);
/// `steps` levels of the schedule for ancestral-type samplers, then `clean`: exactly `steps` evaluations for any steps in 1..T.
/// On a chain the levels are spaced evenly from T ("trailing", integer exact); on a continuous schedule evenly in t.
Path sampling_path(const Schedule& schedule, int64_t steps);
/// Evenly spaced in log-SNR between the schedule's ends, continuous schedules with alpha > 0 only; `clean` not appended.
Path log_snr_path(const Schedule& schedule, int64_t steps);

}  // namespace tweedie
