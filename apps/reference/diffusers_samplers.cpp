// diffusers' DDPMScheduler and DDIMScheduler.
#include <cmath>

#include "mixture.h"
#include "peer_chains.h"
#include "peer_samplers.h"
#include "trajectory.h"
#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/ddpm.h"

namespace tweedie::reference {
namespace {

std::vector<int64_t> timesteps_of(const Json& config, const Json& scheduler) {
  const Json custom = config.value("set_timesteps", Json::object()).value("timesteps", Json());
  if (custom.is_array()) return custom.get<std::vector<int64_t>>();
  return diffusers_timesteps(scheduler, config.at("num_inference_steps"));
}

/// DDPMScheduler goes to the next entry of its list, after the last one to data.
std::vector<Transition> ddpm_transitions(const Schedule& chain, const std::vector<int64_t>& steps) {
  std::vector<Transition> out;
  for (size_t i = 0; i < steps.size(); ++i) {
    const bool to_data = i + 1 == steps.size() || steps[i + 1] < 0;
    out.push_back({level_of_timestep(chain, steps[i]),
                   to_data ? clean : level_of_timestep(chain, steps[i + 1])});
  }
  return out;
}

/// DDIMScheduler goes from t to t - T // n, whatever the list says, and below 0 to data or, without
/// set_alpha_to_one, to the level of timestep 0.
std::vector<Transition> ddim_transitions(const Schedule& chain, const std::vector<int64_t>& steps,
                                         int64_t count, bool set_alpha_to_one, Checker& checker) {
  std::vector<Transition> out;
  for (size_t i = 0; i < steps.size(); ++i) {
    const int64_t to = steps[i] - chain.steps / count;
    const Level end = set_alpha_to_one ? clean : level_of_timestep(chain, 0);
    out.push_back(
        {level_of_timestep(chain, steps[i]), to < 0 ? end : level_of_timestep(chain, to)});
    if (to >= 0 && (i + 1 == steps.size() || to != steps[i + 1]))
      checker.compatibility("diffusers: DDIM steps from t to t - T // n, not to the next timestep");
    if (to < 0 && !set_alpha_to_one)
      checker.compatibility("diffusers: DDIM ends at the level of timestep 0, not at clean data");
  }
  return out;
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

Parameterisation parameterisation_of(const Json& scheduler, NoiseLabel label) {
  const std::string kind = scheduler.at("prediction_type");
  return kind == "sample"         ? x0_prediction(label)
         : kind == "v_prediction" ? v_prediction(label)
                                  : eps_prediction(label);
}

/// Thresholding, or else clipping, as the scheduler's configuration says.
Denoiser limited(Denoiser denoiser, const Json& scheduler) {
  if (scheduler.at("thresholding"))
    return thresholded(denoiser, scheduler.at("dynamic_thresholding_ratio"),
                       scheduler.at("sample_max_value"));
  if (!scheduler.at("clip_sample")) return denoiser;
  const double range = scheduler.at("clip_sample_range");
  return clipped(denoiser, -range, range);
}

/// Log variance of the noise that DDPMScheduler adds in a step to data.  Where the formula says 0
/// it takes 1e-20.
Tensor last_log_variance(const std::string& type, const Level& from, const Tensor& network_out,
                         const Tensor& x) {
  const double small = std::log(1e-20), large = std::log(posterior(clean, from).var_large);
  if (type == "fixed_large") return at::full_like(x, large);
  if (type.starts_with("fixed_small")) return at::full_like(x, small);
  const Tensor head = network_out.narrow(1, x.size(1), x.size(1));
  if (type == "learned") return head.log();
  const Tensor mix = (head + 1) / 2;
  return mix * large + (1 - mix) * small;
}

void compare_chain(Checker& checker, const Schedule& chain, const std::vector<int64_t>& timesteps) {
  std::vector<double> alpha_bar;
  for (int64_t t = 0; t < chain.steps; ++t) {
    const double alpha = level_of_timestep(chain, t).alpha;
    alpha_bar.push_back(alpha * alpha);
  }
  checker.compare("alphas_cumprod", at::tensor(alpha_bar, at::kDouble));
  checker.compare("timesteps", at::tensor(timesteps, at::kLong));
}

NoiseLabel timestep_label(const Schedule& chain) {
  return [steps = static_cast<double>(chain.steps)](const Level& level) {
    return std::round(level.t * steps) - 1;
  };
}

void run_ddpm(const Case& the_case, Checker& checker) {
  const Json scheduler = the_case.row.at("scheduler_config");
  const Schedule chain = diffusers_chain(scheduler);
  const std::vector<int64_t> timesteps = timesteps_of(the_case.config, scheduler);
  const std::vector<Transition> transitions = ddpm_transitions(chain, timesteps);
  const std::shared_ptr<AnalyticNetwork> network = network_of(the_case, chain);
  Denoiser denoiser = make_denoiser(network, parameterisation_of(scheduler, timestep_label(chain)));
  const std::string type = scheduler.at("variance_type");
  if (type == "learned") {
    checker.compatibility("diffusers: learned networks give the variance itself");
    denoiser = variance_as_mix(denoiser, transitions, false);
  }
  const Correction last_noise = [&](const Tensor& x, const Transition& transition, int64_t step) {
    if (transition.to.sigma > 0 || timesteps[static_cast<size_t>(step)] <= 0) return x;
    checker.compatibility(
        "diffusers: DDPM adds noise in a step to data unless it starts at timestep 0");
    const Tensor log_variance =
        last_log_variance(type, transition.from, network->calls.out.back(), x);
    return x + (0.5 * log_variance).exp() * draw_of(the_case, step);
  };
  const std::string variance = type == "fixed_large"             ? "large"
                               : type.starts_with("fixed_small") ? "small"
                                                                 : "learned";
  const Trajectory trajectory =
      run_trajectory(the_case, ddpm({.variance = variance, .clip = false}),
                     limited(denoiser, scheduler), the_case.tensor("x_T"), transitions, last_noise);
  compare_trajectory(the_case, checker, trajectory, transitions, network->calls);
  compare_chain(checker, chain, timesteps);
}

void run_ddim(const Case& the_case, Checker& checker) {
  const Json scheduler = the_case.row.at("scheduler_config");
  const Json step_options = the_case.config.value("step", Json::object());
  const Schedule chain = diffusers_chain(scheduler);
  const std::vector<int64_t> timesteps = timesteps_of(the_case.config, scheduler);
  const std::vector<Transition> transitions =
      ddim_transitions(chain, timesteps, the_case.config.at("num_inference_steps"),
                       scheduler.at("set_alpha_to_one"), checker);
  const std::shared_ptr<AnalyticNetwork> network = network_of(the_case, chain);
  std::vector<Tensor> raw, final_x0;
  const Denoiser denoiser = recording(
      make_denoiser(network, parameterisation_of(scheduler, timestep_label(chain))), &raw);
  const Denoiser bounded = recording(limited(denoiser, scheduler), &final_x0);
  const Sampler sampler = ddim({.eta = step_options.value("eta", 0.0), .clip = false});
  const Tensor start = the_case.tensor("x_T");

  // By default the scheduler moves along the network's own eps although it has clipped x0; our
  // sampler derives eps from the x0 that it uses.
  const bool limits =
      scheduler.at("clip_sample").get<bool>() || scheduler.at("thresholding").get<bool>();
  const bool own_eps = limits && !step_options.value("use_clipped_model_output", false);
  if (!own_eps) {
    compare_trajectory(the_case, checker,
                       run_trajectory(the_case, sampler, bounded, start, transitions), transitions,
                       network->calls);
  } else {
    checker.compatibility("diffusers: DDIM keeps the network's eps when it clips x0");
    const Denoiser unbounded = [&](const Tensor& x, Levels levels, const Condition& condition) {
      bounded(x, levels, condition);
      return Prediction{raw.back(), {}};
    };
    const Correction clip_x0 = [&](const Tensor& x, const Transition& transition, int64_t) {
      return x + transition.to.alpha * (final_x0.back() - raw.back());
    };
    Trajectory trajectory =
        run_trajectory(the_case, sampler, unbounded, start, transitions, clip_x0, true);
    trajectory.pred_x0 = final_x0;
    compare_trajectory(the_case, checker, trajectory, transitions, network->calls);
  }
  compare_chain(checker, chain, timesteps);
}

}  // namespace

Plan plan_diffusers_sampler(const Json& row) {
  const Json config = row.value("config", Json::object());
  const Json scheduler = row.value("scheduler_config", Json::object());
  const Json step_options = config.value("step", Json::object());
  const bool ancestral = text_or_empty(config, "scheduler") == "DDPMScheduler";
  const Refusal refusal = first_refusal(
      {unknown_keys("config", config,
                    {"scheduler", "gmm", "num_inference_steps", "init", "set_timesteps", "step",
                     "prediction", "variance_head", "keep_calls", "inputs"}),
       unknown_keys("config.set_timesteps", config.value("set_timesteps", Json::object()),
                    {"timesteps"}),
       unknown_keys("config.step", step_options,
                    ancestral ? std::vector<std::string>{}
                              : std::vector<std::string>{"eta", "use_clipped_model_output"}),
       unknown_keys(
           "scheduler_config", scheduler,
           {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas",
            "variance_type", "clip_sample", "set_alpha_to_one", "steps_offset", "prediction_type",
            "thresholding", "dynamic_thresholding_ratio", "clip_sample_range", "sample_max_value",
            "timestep_spacing", "rescale_betas_zero_snr"}),
       scheduler.value("trained_betas", Json()).is_array() ||
               known_diffusers_schedule(text_or_empty(scheduler, "beta_schedule"))
           ? Refusal()
           : "beta_schedule " + text_or_empty(scheduler, "beta_schedule") + ": not in this release",
       other_value("prediction", config, {"epsilon", "sample", "v_prediction"}),
       other_value("prediction_type", scheduler, {"epsilon", "sample", "v_prediction"}),
       other_value("timestep_spacing", scheduler, {"leading", "trailing", "linspace"}),
       other_value("variance_head", config, {"range", "variance"}),
       other_value("variance_type", scheduler,
                   {"fixed_small", "fixed_small_log", "fixed_large", "learned", "learned_range"})});
  if (!refusal.empty()) return {{}, refusal};
  if (scheduler.empty()) return {{}, "the case has no scheduler_config"};
  return {ancestral ? run_ddpm : run_ddim, ""};
}

}  // namespace tweedie::reference
