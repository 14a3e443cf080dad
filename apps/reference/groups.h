// What can be checked of each group of cases.
#pragma once

#include <functional>
#include <string>

#include "checker.h"

namespace tweedie::reference {

/// How a case is checked, or why it is not.
struct Plan {
  std::function<void(const Case&, Checker&)> run;  // empty: skipped
  std::string reason;                              // of the skip
};

// By the row of the index alone: nothing is read yet.
Plan plan_schedules(const Json& row);  // A: schedules, grids, respacing
Plan plan_forward(const Json& row);    // B: q(x_t | x_0), posteriors, conversions, SDEs
Plan plan_samplers(const Json& row);   // C: trajectories with an exact denoiser
Plan plan_losses(const Json& row);     // D: losses, bounds, likelihoods
Plan plan_networks(const Json& row);   // E: networks

}  // namespace tweedie::reference
