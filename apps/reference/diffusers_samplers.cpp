// The cases of diffusers' DDPMScheduler and DDIMScheduler.
#include <cmath>

#include "diffusers_schedulers.h"
#include "diffusers_trajectory.h"
#include "mixture.h"
#include "peer_samplers.h"
#include "peer_tables.h"

namespace tweedie::reference {
namespace {

std::vector<int64_t> timesteps_of(const Json& config, const Json& scheduler, Checker& checker) {
  const Json custom = config.value("set_timesteps", Json::object()).value("timesteps", Json());
  if (custom.is_array()) return custom.get<std::vector<int64_t>>();
  return scheduler_timesteps(scheduler, config.at("num_inference_steps"), checker);
}

Tensor prediction_of(const std::string& kind, const Tensor& x, const Tensor& x0,
                     const Level& level) {
  if (kind == "sample") return x0;
  return kind == "v_prediction" ? v_from_x0(x, x0, level) : eps_from_x0(x, x0, level);
}

/// The closed form as a network of the scheduler's prediction_type.
std::shared_ptr<AnalyticNetwork> network_of(const Case& the_case, const Schedule& chain) {
  const Mixture mixture = mixture_of(the_case, the_case.config.at("gmm"));
  const std::string kind = the_case.config.value("prediction", "epsilon"),
                    head = text_or_empty(the_case.config, "variance_head");
  return std::make_shared<AnalyticNetwork>(
      [=](double label) { return level_of_timestep(chain, std::llround(label)); },
      [=](const Tensor& x, const Level& level) {
        const Tensor out = prediction_of(kind, x, mixture.x0(x, level), level);
        if (head == "range") return at::cat({out, (3 * x).sin()}, 1);
        if (head == "variance") return at::cat({out, 0.01 + 0.005 * (3 * x).sin()}, 1);
        return out;
      });
}

void run_diffusers_samplers(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  const Json step_options = config.value("step", Json::object());
  const Json scheduler = the_case.row.at("scheduler_config");
  const std::vector<int64_t> timesteps = timesteps_of(config, scheduler, checker);
  const Schedule chain = diffusers_chain(scheduler);
  const std::shared_ptr<AnalyticNetwork> network = network_of(the_case, chain);
  const Tensor& start = the_case.tensor("x_T");
  const DdimStep options{step_options.value("eta", 0.0),
                         step_options.value("use_clipped_model_output", false)};
  const Draws draws = draws_of(the_case);
  const DiffusersRun result =
      config.at("scheduler") == "DDPMScheduler"
          ? run_diffusers_ddpm(scheduler, timesteps, network, start, draws, checker)
          : run_diffusers_ddim(scheduler, timesteps, config.at("num_inference_steps"), options,
                               network, start, draws, checker);
  compare_trajectory(the_case, checker, result.trajectory, result.transitions, network->calls);
  compare_alpha_bars(checker, chain);
  checker.compare("timesteps", at::tensor(timesteps, at::kLong));
}

}  // namespace

Plan plan_diffusers_sampler(const Json& row) {
  const Json config = row.value("config", Json::object());
  const bool ancestral = text_or_empty(config, "scheduler") == "DDPMScheduler";
  const Refusal refusal = first_refusal(
      {unknown_keys("config", config,
                    {"scheduler", "gmm", "num_inference_steps", "init", "set_timesteps", "step",
                     "prediction", "variance_head", "keep_calls", "inputs"}),
       unknown_keys("config.set_timesteps", config.value("set_timesteps", Json::object()),
                    {"timesteps"}),
       unknown_keys("config.step", config.value("step", Json::object()),
                    ancestral ? std::vector<std::string>{}
                              : std::vector<std::string>{"eta", "use_clipped_model_output"}),
       refused_scheduler(row.value("scheduler_config", Json::object())),
       other_value("prediction", config, {"epsilon", "sample", "v_prediction"}),
       other_value("variance_head", config, {"range", "variance"})});
  if (!refusal.empty()) return {{}, refusal};
  return {run_diffusers_samplers, ""};
}

}  // namespace tweedie::reference
