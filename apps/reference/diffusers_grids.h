// The timesteps and noise levels that diffusers' schedulers step through.
#pragma once

#include <string>
#include <vector>

#include "checker.h"
#include "peer_tables.h"

namespace tweedie::reference {

struct DiffusersGrid {
  std::vector<double> timesteps, sigmas;  // sigmas as sigma / alpha; empty where there are none
};

/// Whether diffusers_grid knows the scheduler.
bool knows_scheduler(const std::string& scheduler);

/// The grid of `scheduler` (its class name) set to `steps` on a chain of `length`.  `settings` is
/// the scheduler's configuration: its betas, timestep_spacing, steps_offset, final_sigmas_type, and
/// use_karras_sigmas and the like.  Tells `checker` where the peer's rounding differs from ours.
/// Throws Error on settings that it cannot interpret.
DiffusersGrid diffusers_grid(const std::string& scheduler, const Json& settings, int64_t length,
                             int64_t steps, Checker& checker);

// Kinds of noise levels between two ends, from noise to data.
std::vector<double> karras_ratios(double least, double most, int64_t steps, double rho = 7);
std::vector<double> exponential_ratios(double least, double most, int64_t steps);
/// Evenly spaced quantiles of Beta(0.6, 0.6) (Lee et al. 2024, arXiv:2407.12173).
std::vector<double> beta_ratios(double least, double most, int64_t steps);

/// Flow matching's `steps` noise levels of a training grid of `length`, from noise to data, which
/// is not among them.
std::vector<double> flow_sigmas(const Json& settings, int64_t length, int64_t steps,
                                Checker& checker);

// Group A's cases of these.
void check_diffusers_grid(const Case& the_case, Checker& checker);
void check_sigma_kinds(const Case& the_case, Checker& checker);
void check_flow_sigmas(const Case& the_case, Checker& checker);

}  // namespace tweedie::reference
