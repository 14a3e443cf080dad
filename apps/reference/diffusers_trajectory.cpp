#include "diffusers_trajectory.h"

#include "peer_tables.h"

namespace tweedie::reference {

Refusal refused_diffusers_config(const Json& config, const std::vector<std::string>& of_grid,
                                 const std::vector<std::string>& of_step) {
  return first_refusal(
      {unknown_keys("config", config,
                    {"scheduler", "gmm", "num_inference_steps", "init", "set_timesteps", "step",
                     "prediction", "keep_calls", "inputs"}),
       unknown_keys("config.set_timesteps", config.value("set_timesteps", Json::object()), of_grid),
       unknown_keys("config.step", config.value("step", Json::object()), of_step)});
}

Level numbered_level(const Schedule& chain, int64_t timestep) {
  Level level = level_of_timestep(chain, timestep);
  level.t = static_cast<double>(timestep);
  return level;
}

void compare_evaluated(const Case& the_case, Checker& checker, const Tensor& final_state,
                       const Evaluations& evaluations) {
  std::vector<Tensor> x = evaluations.x;
  x.push_back(final_state);
  checker.compare("x", at::stack(x));
  checker.compare("x_final", final_state);
  compare_calls(the_case, checker, evaluations);
}

void compare_alpha_bars(Checker& checker, const Schedule& chain) {
  std::vector<double> alpha_bar;
  for (int64_t t = 0; t < chain.steps; ++t) {
    const double alpha = level_of_timestep(chain, t).alpha;
    alpha_bar.push_back(alpha * alpha);
  }
  checker.compare("alphas_cumprod", to_tensor(alpha_bar));
}

}  // namespace tweedie::reference
