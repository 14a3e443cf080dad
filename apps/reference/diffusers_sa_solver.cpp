// The cases of diffusers' SASolverScheduler.
#include <algorithm>
#include <cmath>

#include "diffusers_grids.h"
#include "diffusers_trajectory.h"
#include "peer_samplers.h"
#include "tweedie/samplers/multistep.h"

namespace tweedie::reference {
namespace {

/// DEIS's grid is that of SA-Solver.
DiffusersGrid sa_grid(const Json& scheduler, int64_t steps, Checker& checker) {
  Json settings = Json::object();
  for (const char* key : {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule",
                          "trained_betas", "timestep_spacing", "steps_offset"})
    settings[key] = scheduler.at(key);
  const int64_t length = static_cast<int64_t>(number_of(scheduler, "num_train_timesteps"));
  return diffusers_grid("DEISMultistepScheduler", settings, length, steps, checker);
}

Path sa_path(const DiffusersGrid& grid) {
  Path path;
  for (size_t i = 0; i < grid.sigmas.size(); ++i) {
    const double alpha = 1 / std::hypot(1.0, grid.sigmas[i]),
                 t = i < grid.timesteps.size() ? grid.timesteps[i] : 0;
    path.push_back({t, alpha, alpha * grid.sigmas[i], NAN, NAN});
  }
  return path;
}

/// The default tau: the reverse SDE in the middle of the chain, the flow at its ends.
std::vector<double> default_etas(const std::vector<double>& timesteps) {
  std::vector<double> etas;
  for (const double t : timesteps) etas.push_back(t >= 200 && t <= 800 ? 1 : 0);
  return etas;
}

MultistepOptions sa_options(const Json& scheduler, const std::vector<double>& timesteps) {
  const int64_t steps = static_cast<int64_t>(timesteps.size()),
                order = scheduler.at("predictor_order");
  const bool lower_final = scheduler.at("lower_order_final");
  // Of x0 the peer closes a straight line's integral as UniPC's bh1 does; of eps exactly.
  const bool of_x0 = scheduler.at("algorithm_type") == "data_prediction";
  MultistepOptions options{.order = order,
                           .form = of_x0 ? "x0" : "eps",
                           .closure = of_x0 ? "half_step" : "exact",
                           .corrector = scheduler.at("corrector_order"),
                           .etas = default_etas(timesteps)};
  for (int64_t i = 0; i < steps; ++i)
    options.orders.push_back(std::min(order, lower_final ? steps - i : order));
  return options;
}

void run_sa_solver(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  const Json scheduler = the_case.row.at("scheduler_config");
  const DiffusersGrid grid = sa_grid(scheduler, config.at("num_inference_steps"), checker);
  checker.compatibility("diffusers: SA-Solver ends at the level of timestep 0, not at clean data");
  // Every step draws, whether it adds noise or not.
  const PeerRun run = run_peer(the_case, {.prediction = config.value("prediction", "epsilon")},
                               multistep(sa_options(scheduler, grid.timesteps)),
                               the_case.tensor("x_T"), sa_path(grid), recorded_draws(the_case));
  compare_evaluated(the_case, checker, run.x.back(), run.evaluations);
  compare_alpha_bars(checker, diffusers_chain(scheduler));
  checker.compare("timesteps", to_tensor(grid.timesteps));
  checker.compare("sigmas", to_tensor(grid.sigmas));
}

Refusal sa_order_refusal(const Json& scheduler) {
  const int64_t order = scheduler.value("predictor_order", 0),
                corrector = scheduler.value("corrector_order", 0);
  if (order < 1 || order > 4 || corrector < 2 || corrector > order + 1)
    return "SA-Solver of order " + std::to_string(order) + " corrected by " +
           std::to_string(corrector) + ": not in this release";
  return {};
}

}  // namespace

Plan plan_diffusers_sa_solver(const Json& row) {
  const Json config = row.value("config", Json::object()),
             scheduler = row.value("scheduler_config", Json::object());
  if (config.value("prediction", "epsilon") != text_or_empty(scheduler, "prediction_type"))
    return {{}, "a network of another prediction than the scheduler's: not in this release"};
  const Refusal refusal = first_refusal(
      {refused_diffusers_config(config),
       unknown_keys("scheduler_config", scheduler,
                    {"num_train_timesteps",
                     "beta_start",
                     "beta_end",
                     "beta_schedule",
                     "trained_betas",
                     "predictor_order",
                     "corrector_order",
                     "prediction_type",
                     "tau_func",
                     "thresholding",
                     "dynamic_thresholding_ratio",
                     "sample_max_value",
                     "algorithm_type",
                     "lower_order_final",
                     "use_karras_sigmas",
                     "use_exponential_sigmas",
                     "use_beta_sigmas",
                     "use_flow_sigmas",
                     "flow_shift",
                     "lambda_min_clipped",
                     "variance_type",
                     "timestep_spacing",
                     "steps_offset"}),
       switched_on(scheduler,
                   {"tau_func", "thresholding", "use_karras_sigmas", "use_exponential_sigmas",
                    "use_beta_sigmas", "use_flow_sigmas", "variance_type"}),
       other_value("lambda_min_clipped", scheduler, {"-inf"}),
       other_value("algorithm_type", scheduler, {"data_prediction", "noise_prediction"}),
       other_value("beta_schedule", scheduler, {"linear", "scaled_linear", "squaredcos_cap_v2"}),
       other_value("timestep_spacing", scheduler, {"leading", "trailing", "linspace"}),
       other_value("prediction", config, {"epsilon", "sample", "v_prediction"}),
       sa_order_refusal(scheduler)});
  if (!refusal.empty()) return {{}, refusal};
  return {run_sa_solver, ""};
}

}  // namespace tweedie::reference
