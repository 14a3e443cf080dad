// The cases of diffusers' schedulers of flow matching.
#include <cmath>

#include "diffusers_grids.h"
#include "diffusers_trajectory.h"
#include "peer_samplers.h"
#include "tweedie/samplers/renoise.h"
#include "tweedie/samplers/runge_kutta.h"

namespace tweedie::reference {
namespace {

/// x_t = (1 - sigma) x_0 + sigma eps, with sigma `length` times too large for a time.
Path flow_path(const std::vector<double>& sigmas, double length) {
  Path path;
  for (const double sigma : sigmas)
    path.push_back({length * sigma, 1 - sigma, sigma, -1 / length, 1 / length});
  return path;
}

Sampler flow_sampler(const std::string& scheduler, bool stochastic) {
  if (stochastic) return renoise();
  return runge_kutta(
      {.order = scheduler == "FlowMatchHeunDiscreteScheduler" ? 2 : 1, .clock = "time"});
}

/// The scheduler's settings with what set_timesteps was told.
Json flow_settings(const Case& the_case) {
  Json settings = the_case.row.at("scheduler_config");
  settings.update(the_case.config.value("set_timesteps", Json::object()));
  return settings;
}

void run_flow(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  const Json settings = flow_settings(the_case);
  const int64_t length = static_cast<int64_t>(number_of(settings, "num_train_timesteps"));
  std::vector<double> sigmas =
      flow_sigmas(settings, length, config.at("num_inference_steps"), checker);
  sigmas.push_back(0);
  const PeerRun run =
      run_peer(the_case, {.prediction = config.at("prediction")},
               flow_sampler(config.at("scheduler"), settings.value("stochastic_sampling", false)),
               the_case.tensor("x_T"), flow_path(sigmas, static_cast<double>(length)),
               recorded_draws(the_case));
  compare_evaluated(the_case, checker, run.x.back(), run.evaluations);
  // The peer's grid lists every evaluation.
  std::vector<double> timesteps, evaluated;
  for (const Level& level : run.evaluations.level) {
    timesteps.push_back(level.t);
    evaluated.push_back(level.sigma);
  }
  evaluated.push_back(0);
  checker.compare("timesteps", to_tensor(timesteps));
  checker.compare("sigmas", to_tensor(evaluated));
}

}  // namespace

Plan plan_diffusers_flow_sampler(const Json& row) {
  const Json config = row.value("config", Json::object()),
             scheduler = row.value("scheduler_config", Json::object());
  if (text_or_empty(config, "prediction") != "flow_prediction")
    return {{}, "flow matching of another prediction: not in this release"};
  if (scheduler.value("use_dynamic_shifting", false) &&
      !config.value("set_timesteps", Json::object()).contains("mu"))
    return {{}, "dynamic shifting without mu: not in this release"};
  const Refusal refusal = first_refusal(
      {refused_diffusers_config(config, {"mu"}),
       unknown_keys("scheduler_config", scheduler,
                    {"num_train_timesteps", "shift", "use_dynamic_shifting", "base_shift",
                     "max_shift", "base_image_seq_len", "max_image_seq_len", "invert_sigmas",
                     "shift_terminal", "use_karras_sigmas", "use_exponential_sigmas",
                     "use_beta_sigmas", "time_shift_type", "stochastic_sampling"}),
       switched_on(scheduler, {"invert_sigmas"}),
       other_value("time_shift_type", scheduler, {"exponential", "linear"})});
  if (!refusal.empty()) return {{}, refusal};
  return {run_flow, ""};
}

}  // namespace tweedie::reference
