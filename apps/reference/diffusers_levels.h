// The levels that a diffusers scheduler visits, from its configuration as it was in force.
#pragma once

#include "diffusers_grids.h"
#include "peer_run.h"
#include "support.h"

namespace tweedie::reference {

/// The scheduler's grid of the case's num_inference_steps; compares what the case has of timesteps,
/// sigmas and alphas_cumprod.
DiffusersGrid compare_grid_of(const Case& the_case, Checker& checker);

/// What of scheduler_config the grid depends on, without what is off.
Json grid_settings(const Json& scheduler);

/// Where the state is x_0 + sigma eps: init_noise_sigma of the Euler, Heun, LMS and KDPM2 families.
double start_scale(const Json& scheduler, const std::vector<double>& sigmas);

/// Compares the states, which diffusers lists at every evaluation and at the end, and the calls.
void compare_diffusers_run(const Case& the_case, Checker& checker, const PeerRun& run);

/// The keys of every scheduler_config with a beta schedule, and `more`.
Refusal unknown_scheduler_keys(const Json& scheduler, const std::vector<std::string>& more);
/// The keys of the case's own config.
Refusal unknown_case_keys(const Json& config);

}  // namespace tweedie::reference
