// diffusers' DDPMScheduler and DDIMScheduler made of our samplers.
#pragma once

#include "support.h"
#include "trajectory.h"

namespace tweedie::reference {

struct DiffusersRun {
  Trajectory trajectory;
  std::vector<Transition> transitions;
};

/// What DDIMScheduler's step is told.
struct DdimStep {
  double eta = 0;
  bool use_clipped_model_output = false;
};

/// The timesteps of a scheduler of either kind, from noise to data.
std::vector<int64_t> scheduler_timesteps(const Json& scheduler, int64_t count, Checker& checker);

/// Why a scheduler's configuration cannot be followed.
Refusal refused_scheduler(const Json& scheduler);

// Conventions of the peer that our samplers do not share are told to `checker`.
DiffusersRun run_diffusers_ddpm(const Json& scheduler, const std::vector<int64_t>& timesteps,
                                const std::shared_ptr<Network>& network, const Tensor& start,
                                const Draws& draws, Checker& checker);
/// `count` is num_inference_steps.
DiffusersRun run_diffusers_ddim(const Json& scheduler, const std::vector<int64_t>& timesteps,
                                int64_t count, const DdimStep& options,
                                const std::shared_ptr<Network>& network, const Tensor& start,
                                const Draws& draws, Checker& checker);

}  // namespace tweedie::reference
