// The cases of diffusers' schedulers whose state is x_0 + sigma eps: Euler, Heun, DPM2, LMS and the
// stochastic DPM-Solver.
#include <cmath>

#include "diffusers_levels.h"
#include "peer_samplers.h"
#include "peer_tables.h"
#include "tweedie/base/error.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/linear_multistep.h"
#include "tweedie/samplers/runge_kutta.h"
#include "tweedie/samplers/single_step.h"

namespace tweedie::reference {
namespace {

const std::vector<std::string>& sigma_schedulers() {
  static const std::vector<std::string> names = {
      "EulerDiscreteScheduler",          "EulerAncestralDiscreteScheduler",
      "HeunDiscreteScheduler",           "KDPM2DiscreteScheduler",
      "KDPM2AncestralDiscreteScheduler", "LMSDiscreteScheduler",
      "DPMSolverSDEScheduler",           "EDMEulerScheduler"};
  return names;
}

Sampler sigma_sampler(const std::string& name, const Json& step) {
  if (name == "EulerDiscreteScheduler" || name == "EDMEulerScheduler")
    return runge_kutta({.order = 1});
  if (name == "EulerAncestralDiscreteScheduler") return ddim({.eta = 1, .clip = false});
  if (name == "HeunDiscreteScheduler") return runge_kutta({.order = 2});
  if (name == "KDPM2DiscreteScheduler") return single_step({.form = "eps"});
  if (name == "KDPM2AncestralDiscreteScheduler") return single_step({.form = "eps", .eta = 1});
  if (name == "LMSDiscreteScheduler")
    return linear_multistep({.order = step.value("order", int64_t{4})});
  return single_step({.eta = 1, .noisy_stages = true});
}

/// One level for each step: schedulers of two evaluations list the second one too.
Path path_of_grid(const DiffusersGrid& grid, bool two_stages, bool to_last) {
  std::vector<double> sigmas, times;
  for (size_t i = 0; i < grid.timesteps.size(); i += two_stages ? 2 : 1) {
    sigmas.push_back(grid.sigmas[two_stages && i > 0 ? i - 1 : i]);
    times.push_back(grid.timesteps[i]);
  }
  sigmas.push_back(to_last ? grid.sigmas.back() : grid.sigmas[grid.timesteps.size()]);
  return ve_path(sigmas, times);
}

void run_sigma_sampler(const Case& the_case, Checker& checker) {
  const Json& scheduler = the_case.row.at("scheduler_config");
  const std::string name = the_case.config.at("scheduler");
  const DiffusersGrid grid = compare_grid_of(the_case, checker);
  const bool edm = name.starts_with("EDM");
  const bool two_stages =
      grid.timesteps.size() >
      static_cast<size_t>(the_case.config.at("num_inference_steps").get<int64_t>());
  Path path = path_of_grid(grid, two_stages, two_stages);
  if (!edm) {
    const NoiseTable table(diffusers_chain(scheduler));
    path.between = [table](double log_snr) {
      const double sigma = std::exp(-0.5 * log_snr);
      return ve_level(sigma, table.time_of(sigma));
    };
  }
  const double scale = edm ? std::hypot(1.0, grid.sigmas[0]) : start_scale(scheduler, grid.sigmas);
  const NetworkView view{
      .prediction = edm ? "denoised" : the_case.config.value("prediction", "epsilon"),
      .scaled = !edm};
  const PeerRun run =
      run_peer(the_case, view, sigma_sampler(name, the_case.config.value("step", Json::object())),
               scale * the_case.tensor("x_T"), path, draws_in_order(the_case));
  compare_diffusers_run(the_case, checker, run);
}

}  // namespace

bool is_sigma_scheduler(const std::string& name) {
  return std::find(sigma_schedulers().begin(), sigma_schedulers().end(), name) !=
         sigma_schedulers().end();
}

Plan plan_diffusers_sigma_sampler(const Json& row) {
  const Json config = row.value("config", Json::object()),
             scheduler = row.value("scheduler_config", Json::object());
  const Refusal refusal = first_refusal(
      {unknown_case_keys(config),
       unknown_scheduler_keys(
           scheduler, {"interpolation_type", "timestep_type", "final_sigmas_type", "sigma_min",
                       "sigma_max", "sigma_data", "sigma_schedule", "rho", "clip_sample",
                       "clip_sample_range", "noise_sampler_seed"}),
       other_value("interpolation_type", scheduler, {"linear", "log_linear"}),
       other_value("timestep_type", scheduler, {"discrete"}),
       other_value("sigma_schedule", scheduler, {"karras", "exponential"})});
  if (!refusal.empty()) return {{}, refusal};
  if (scheduler.value("clip_sample", false))
    return {{}, "a sigma scheduler with clip_sample: not in this release"};
  return {run_sigma_sampler, ""};
}

}  // namespace tweedie::reference
