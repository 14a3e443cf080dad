#include "peer_samplers.h"

namespace tweedie::reference {

Plan plan_samplers(const Json& row) {
  const std::string peer = row.at("peer");
  if (peer == "improved-diffusion" || peer == "guided-diffusion") return plan_improved_sampler(row);
  if (peer == "k-diffusion") return plan_kdiffusion_sampler(row);
  if (peer == "dpm-solver") return plan_dpm_solver_sampler(row);
  if (peer == "edm") return plan_edm_sampler(row);
  if (peer == "score_sde") return plan_score_sde_sampler(row);
  const Json config = row.value("config", Json::object());
  const std::string scheduler = text_or_empty(config, "scheduler");
  if (peer == "diffusers" && (scheduler == "DDPMScheduler" || scheduler == "DDIMScheduler"))
    return plan_diffusers_sampler(row);
  if (peer == "diffusers" && is_sigma_scheduler(scheduler))
    return plan_diffusers_sigma_sampler(row);
  if (peer == "diffusers" && is_lambda_scheduler(scheduler))
    return plan_diffusers_lambda_sampler(row);
  const std::string sampler = !scheduler.empty() ? scheduler : text_or_empty(config, "sampler");
  return {{}, "sampler " + peer + (sampler.empty() ? "" : " " + sampler) + ": not in this release"};
}

}  // namespace tweedie::reference
