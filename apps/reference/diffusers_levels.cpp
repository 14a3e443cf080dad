#include "diffusers_levels.h"

#include <algorithm>
#include <cmath>

#include "peer_tables.h"
#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"

namespace tweedie::reference {
namespace {

/// EDM's own schedulers: no chain, c_noise = log(sigma) / 4 for the network.
DiffusersGrid edm_grid(const Json& scheduler, int64_t steps) {
  const double least = number_of(scheduler, "sigma_min"), most = number_of(scheduler, "sigma_max");
  DiffusersGrid grid;
  grid.sigmas = scheduler.at("sigma_schedule") == "karras"
                    ? karras_ratios(least, most, steps, number_of(scheduler, "rho"))
                    : exponential_ratios(least, most, steps);
  for (const double sigma : grid.sigmas) grid.timesteps.push_back(0.25 * std::log(sigma));
  grid.sigmas.push_back(scheduler.at("final_sigmas_type") == "zero" ? 0 : grid.sigmas.back());
  return grid;
}

/// use_flow_sigmas: 1 - 1/T downwards, shifted (Esser et al. 2024, arXiv:2403.03206, eq. 23).
DiffusersGrid flow_grid(const Json& scheduler, int64_t length, int64_t steps) {
  const double shift = scheduler.value("flow_shift", 1.0);
  const std::vector<double> alphas = numpy_linspace(1, 1 / static_cast<double>(length), steps + 1);
  DiffusersGrid grid;
  for (size_t i = alphas.size(); i-- > 1;) {
    const double sigma = 1 - alphas[i];
    grid.sigmas.push_back(shift * sigma / (1 + (shift - 1) * sigma));
    grid.timesteps.push_back(std::trunc(grid.sigmas.back() * static_cast<double>(length)));
  }
  grid.sigmas.push_back(scheduler.at("final_sigmas_type") == "zero" ? 0 : grid.sigmas.back());
  return grid;
}

/// Euler's interpolation_type "log_linear": evenly in log sigma between the grid's ends, one level
/// too many, so that the last step stops above zero.
void interpolate_log_linear(std::vector<double>& sigmas, Checker& checker) {
  checker.compatibility("diffusers: log_linear interpolation stops at a level above zero");
  const size_t steps = sigmas.size() - 1;
  const std::vector<double> logs = numpy_linspace(std::log(sigmas[steps - 1]), std::log(sigmas[0]),
                                                  static_cast<int64_t>(steps) + 1);
  const double end = sigmas.back();
  sigmas.clear();
  for (size_t i = logs.size(); i-- > 0;) sigmas.push_back(std::exp(logs[i]));
  sigmas.push_back(end);
}

}  // namespace

Json grid_settings(const Json& scheduler) {
  Json out = Json::object();
  for (const char* key :
       {"beta_schedule", "beta_start", "beta_end", "trained_betas", "num_train_timesteps",
        "rescale_betas_zero_snr", "timestep_spacing", "steps_offset", "final_sigmas_type",
        "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas",
        "lambda_min_clipped"}) {
    const auto found = scheduler.find(key);
    const bool off = found == scheduler.end() || found->is_null() ||
                     (found->is_boolean() && !found->get<bool>()) ||
                     (std::string(key) == "lambda_min_clipped" && !found->is_number());
    if (!off) out[key] = *found;
  }
  if (!out.contains("timestep_spacing")) out["timestep_spacing"] = "linspace";
  return out;
}

DiffusersGrid compare_grid_of(const Case& the_case, Checker& checker) {
  const Json& scheduler = the_case.row.at("scheduler_config");
  const std::string name = the_case.config.at("scheduler");
  const int64_t steps = the_case.config.at("num_inference_steps"),
                length = static_cast<int64_t>(scheduler.value("num_train_timesteps", 1000.0));
  DiffusersGrid grid = name.starts_with("EDM") ? edm_grid(scheduler, steps)
                       : scheduler.value("use_flow_sigmas", false)
                           ? flow_grid(scheduler, length, steps)
                           : diffusers_grid(name, grid_settings(scheduler), length, steps, checker);
  if (scheduler.value("interpolation_type", "linear") == "log_linear")
    interpolate_log_linear(grid.sigmas, checker);
  // The multistep schedulers keep their timesteps as whole numbers, cut off.
  if (the_case.has("timesteps") && !the_case.tensor("timesteps").is_floating_point())
    for (double& t : grid.timesteps) t = std::trunc(t);
  if (the_case.has("timesteps")) checker.compare("timesteps", to_tensor(grid.timesteps));
  if (the_case.has("sigmas")) checker.compare("sigmas", to_tensor(grid.sigmas));
  if (the_case.has("alphas_cumprod")) {
    const Schedule chain = diffusers_chain(scheduler);
    std::vector<double> alpha_bar;
    for (int64_t i = 1; i <= chain.steps; ++i)
      alpha_bar.push_back(step_level(chain, i).alpha * step_level(chain, i).alpha);
    checker.compare("alphas_cumprod", to_tensor(alpha_bar));
  }
  return grid;
}

double start_scale(const Json& scheduler, const std::vector<double>& sigmas) {
  const double most = *std::max_element(sigmas.begin(), sigmas.end());
  const std::string spacing = scheduler.value("timestep_spacing", std::string("leading"));
  return spacing == "leading" ? std::hypot(1.0, most) : most;
}

void compare_diffusers_run(const Case& the_case, Checker& checker, const PeerRun& run) {
  std::vector<Tensor> states = run.evaluations.state;
  states.push_back(run.x.back());
  checker.compare("x", at::stack(states));
  checker.compare("x_final", run.x.back());
  if (the_case.has("pred_x0")) checker.compare("pred_x0", at::stack(run.evaluations.x0));
  compare_calls(the_case, checker, run.evaluations);
}

Refusal unknown_scheduler_keys(const Json& scheduler, const std::vector<std::string>& more) {
  std::vector<std::string> known = {
      "_class_name",       "_diffusers_version",     "num_train_timesteps", "beta_start",
      "beta_end",          "beta_schedule",          "trained_betas",       "prediction_type",
      "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",     "timestep_spacing",
      "steps_offset",      "rescale_betas_zero_snr"};
  known.insert(known.end(), more.begin(), more.end());
  return unknown_keys("scheduler_config", scheduler, known);
}

Refusal unknown_case_keys(const Json& config) {
  return first_refusal(
      {unknown_keys("config", config,
                    {"scheduler", "gmm", "num_inference_steps", "init", "step", "prediction",
                     "keep_calls", "inputs"}),
       unknown_keys("config.step", config.value("step", Json::object()), {"order"}),
       other_value("prediction", config,
                   {"epsilon", "sample", "v_prediction", "flow_prediction", "denoised"})});
}

}  // namespace tweedie::reference
