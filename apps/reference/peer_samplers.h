// How the samplers of each peer that we have are checked.
#pragma once

#include "groups.h"
#include "support.h"

namespace tweedie::reference {

Plan plan_improved_sampler(const Json& row);  // improved-diffusion and guided-diffusion
Plan plan_kdiffusion_sampler(const Json& row);
Plan plan_dpm_solver_sampler(const Json& row);
Plan plan_edm_sampler(const Json& row);
Plan plan_score_sde_sampler(const Json& row);
Plan plan_diffusers_sampler(const Json& row);       // diffusers' DDPMScheduler and DDIMScheduler
Plan plan_diffusers_flow_sampler(const Json& row);  // FlowMatchEuler and FlowMatchHeun
Plan plan_diffusers_pndm_sampler(const Json& row);  // PNDM and IPNDM
Plan plan_diffusers_consistency_sampler(const Json& row);  // CMStochasticIterative, LCM, TCD
Plan plan_diffusers_sde_sampler(const Json& row);          // ScoreSdeVe and ScoreSdeVp
Plan plan_diffusers_sa_solver(const Json& row);            // SASolver
Plan plan_diffusers_repaint(const Json& row);              // RePaint

// diffusers' schedulers by the variable their state is in: x_0 + sigma eps, or alpha x_0 + sigma
// eps with steps in log(alpha / sigma).
bool is_sigma_scheduler(const std::string& name);
Plan plan_diffusers_sigma_sampler(const Json& row);
bool is_lambda_scheduler(const std::string& name);
Plan plan_diffusers_lambda_sampler(const Json& row);

}  // namespace tweedie::reference
