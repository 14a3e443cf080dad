// The chains and the lists of timesteps that the peers' configurations stand for.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/json.h"
#include "tweedie/process/schedule.h"

namespace tweedie::reference {

/// diffusers: beta_schedule, num_train_timesteps, beta_start, beta_end, trained_betas and
/// rescale_betas_zero_snr of a scheduler's configuration.
Schedule diffusers_chain(const Json& scheduler);
/// The names of beta_schedule that diffusers_chain knows.
bool known_diffusers_schedule(const std::string& name);

/// diffusers: set_timesteps of DDPMScheduler and DDIMScheduler (timestep_spacing, steps_offset),
/// falling from noise to data.  Timestep t is step t + 1 of the chain.
std::vector<int64_t> diffusers_timesteps(const Json& scheduler, int64_t steps);

/// improved-diffusion: get_named_beta_schedule.  Throws Error on an unknown name.
Schedule improved_chain(const std::string& name, int64_t steps);
/// improved-diffusion: space_timesteps, rising; an empty respacing keeps every step.
std::vector<int64_t> space_timesteps(int64_t steps, const std::string& respacing);

/// The level of timestep t of a chain; negative ones count from its end, as they do in Python.
Level level_of_timestep(const Schedule& chain, int64_t t);

}  // namespace tweedie::reference
