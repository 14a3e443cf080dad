#include <map>

#include "peer_samplers.h"

namespace tweedie::reference {
namespace {

/// The schedulers of diffusers that we follow.
const std::map<std::string, Plan (*)(const Json&)>& diffusers_plans() {
  static const std::map<std::string, Plan (*)(const Json&)> plans = {
      {"DDPMScheduler", plan_diffusers_sampler},
      {"DDIMScheduler", plan_diffusers_sampler},
      {"FlowMatchEulerDiscreteScheduler", plan_diffusers_flow_sampler},
      {"FlowMatchHeunDiscreteScheduler", plan_diffusers_flow_sampler},
      {"PNDMScheduler", plan_diffusers_pndm_sampler},
      {"IPNDMScheduler", plan_diffusers_pndm_sampler},
      {"CMStochasticIterativeScheduler", plan_diffusers_consistency_sampler},
      {"LCMScheduler", plan_diffusers_consistency_sampler},
      {"TCDScheduler", plan_diffusers_consistency_sampler},
      {"ScoreSdeVeScheduler", plan_diffusers_sde_sampler},
      {"ScoreSdeVpScheduler", plan_diffusers_sde_sampler},
      {"SASolverScheduler", plan_diffusers_sa_solver},
      {"RePaintScheduler", plan_diffusers_repaint},
  };
  return plans;
}

}  // namespace

Plan plan_samplers(const Json& row) {
  const std::string peer = row.at("peer");
  if (peer == "improved-diffusion" || peer == "guided-diffusion") return plan_improved_sampler(row);
  if (peer == "k-diffusion") return plan_kdiffusion_sampler(row);
  if (peer == "dpm-solver") return plan_dpm_solver_sampler(row);
  if (peer == "edm") return plan_edm_sampler(row);
  if (peer == "score_sde") return plan_score_sde_sampler(row);
  const Json config = row.value("config", Json::object());
  const std::string scheduler = text_or_empty(config, "scheduler");
  if (peer == "diffusers" && is_sigma_scheduler(scheduler))
    return plan_diffusers_sigma_sampler(row);
  if (peer == "diffusers" && is_lambda_scheduler(scheduler))
    return plan_diffusers_lambda_sampler(row);
  const auto found = diffusers_plans().find(scheduler);
  if (peer == "diffusers" && found != diffusers_plans().end()) return found->second(row);
  const std::string sampler = !scheduler.empty() ? scheduler : text_or_empty(config, "sampler");
  return {{}, "sampler " + peer + (sampler.empty() ? "" : " " + sampler) + ": not in this release"};
}

}  // namespace tweedie::reference
