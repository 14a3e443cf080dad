// Where the probability flow of a schedule runs, in log(sigma / alpha).
#pragma once

#include <string>

#include "tweedie/process/path.h"

namespace tweedie {

/// The flow of y = x / alpha against log(sigma / alpha) = -log-SNR / 2, in which its slope is
/// y - E[x_0 | x]: smooth at both ends, on every schedule.
struct FlowRange {
  double data, noise;  // log(sigma / alpha) at its ends
  Curve between;       // the level at a log-SNR
  std::string note;    // what was left out, for the user to read; empty if nothing was

  Level level(double log_ratio) const { return between(-2 * log_ratio); }
};

/// From t_min (a chain's first step) to t_max.  Where that is noise alone (sigma > 10^5 alpha, or
/// alpha = 0 and log-SNR infinite) a chain ends a step earlier and a continuous schedule at that
/// ratio, where 5e-11 nats a dimension are left of data of size 1 (if its sigma is the last one by
/// then); `note` says so.  Throws Error if
/// the schedule has no curve.
FlowRange flow_range(const Schedule& schedule);

}  // namespace tweedie
