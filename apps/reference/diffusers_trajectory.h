// What every case of a diffusers sampler has, as its README says.
#pragma once

#include "peer_run.h"
#include "support.h"

namespace tweedie::reference {

/// Unknown keys of the config outside `init`, which is the scheduler_config as it was asked for.
Refusal refused_diffusers_config(const Json& config, const std::vector<std::string>& of_grid = {},
                                 const std::vector<std::string>& of_step = {});

/// A chain's level with the peer's number as its t.
Level numbered_level(const Schedule& chain, int64_t timestep);

/// Compares the final state, the states that the network was asked at, which with the final one are
/// the case's x, and the network's calls.
void compare_evaluated(const Case& the_case, Checker& checker, const Tensor& final_state,
                       const Evaluations& evaluations);

/// alphas_cumprod, the chain's.
void compare_alpha_bars(Checker& checker, const Schedule& chain);

}  // namespace tweedie::reference
