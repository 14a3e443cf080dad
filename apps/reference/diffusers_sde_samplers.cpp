// The cases of diffusers' ScoreSdeVeScheduler and ScoreSdeVpScheduler: score_sde's predictors and
// corrector.
#include <cmath>

#include "diffusers_trajectory.h"
#include "peer_samplers.h"
#include "peer_tables.h"
#include "score_sde_samplers.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/schedule.h"

namespace tweedie::reference {
namespace {

/// The case in score_sde's words.
Json as_song(const Json& config, const Json& scheduler) {
  const bool exploding = config.at("scheduler") == "ScoreSdeVeScheduler";
  Json song = exploding ? Json{{"sde", "vesde"},
                               {"predictor", "reverse_diffusion"},
                               {"corrector", "langevin"},
                               {"n_steps", scheduler.at("correct_steps")},
                               {"sigma_min", scheduler.at("sigma_min")},
                               {"sigma_max", scheduler.at("sigma_max")},
                               {"snr", scheduler.at("snr")}}
                        : Json{{"sde", "vpsde"},
                               {"predictor", "euler_maruyama"},
                               {"corrector", "none"},
                               {"beta_min", scheduler.at("beta_min")},
                               {"beta_max", scheduler.at("beta_max")},
                               {"snr", 1}};
  song["N"] = config.at("num_inference_steps");
  song["eps"] = scheduler.at("sampling_eps");
  return song;
}

void run_diffusers_sde(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  const Json scheduler = the_case.row.at("scheduler_config");
  const SongRun song = run_song(the_case, as_song(config, scheduler), checker);
  checker.compare("x", at::stack(song.run.x));
  checker.compare("x_final", song.run.x.back());
  checker.compare("prev_mean", at::stack(song.means));
  const std::vector<double> times =
      numpy_linspace(1, number_of(scheduler, "sampling_eps"), config.at("num_inference_steps"));
  checker.compare("timesteps", to_tensor(times));
  if (!the_case.has("sigmas")) return;
  const Schedule process = ve(number_of(scheduler, "sigma_min"), number_of(scheduler, "sigma_max"));
  std::vector<double> sigmas;
  for (const double t : times) sigmas.push_back(process.at(t).sigma);
  checker.compare("sigmas", to_tensor(sigmas));
}

}  // namespace

Plan plan_diffusers_sde_sampler(const Json& row) {
  const Json config = row.value("config", Json::object()),
             scheduler = row.value("scheduler_config", Json::object());
  if (config.contains("prediction")) return {{}, "config.prediction: not in this release"};
  if (config.value("keep_calls", true)) return {{}, "calls of an SDE: not in this release"};
  const bool exploding = text_or_empty(config, "scheduler") == "ScoreSdeVeScheduler";
  const Refusal refusal = first_refusal(
      {refused_diffusers_config(config),
       unknown_keys("scheduler_config", scheduler,
                    exploding
                        ? std::vector<std::string>{"num_train_timesteps", "snr", "sigma_min",
                                                   "sigma_max", "sampling_eps", "correct_steps"}
                        : std::vector<std::string>{"num_train_timesteps", "beta_min", "beta_max",
                                                   "sampling_eps"})});
  if (!refusal.empty()) return {{}, refusal};
  return {run_diffusers_sde, ""};
}

}  // namespace tweedie::reference
