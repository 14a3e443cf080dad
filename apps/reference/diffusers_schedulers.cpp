#include "diffusers_schedulers.h"

#include <cmath>

#include "diffusers_grids.h"
#include "peer_tables.h"
#include "tweedie/process/posterior.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/ddpm.h"

namespace tweedie::reference {
namespace {

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

Parameterisation parameterisation_of(const Json& scheduler, NoiseLabel label) {
  const std::string kind = scheduler.at("prediction_type");
  return kind == "sample"         ? x0_prediction(label)
         : kind == "v_prediction" ? v_prediction(label)
                                  : eps_prediction(label);
}

NoiseLabel timestep_label(const Schedule& chain) {
  return [steps = static_cast<double>(chain.steps)](const Level& level) {
    return std::round(level.t * steps) - 1;
  };
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
Tensor last_log_variance(const std::string& type, const Level& from, const Tensor& var_mix,
                         const Tensor& x) {
  const double small = std::log(1e-20), large = std::log(posterior(clean, from).var_large);
  if (type == "fixed_large") return at::full_like(x, large);
  if (type.starts_with("fixed_small")) return at::full_like(x, small);
  if (type == "learned") return (2 * var_mix - 1).log();  // the variance as the network gave it
  return var_mix * large + (1 - var_mix) * small;
}

}  // namespace

std::vector<int64_t> scheduler_timesteps(const Json& scheduler, int64_t count, Checker& checker) {
  const int64_t length = static_cast<int64_t>(number_of(scheduler, "num_train_timesteps"));
  std::vector<int64_t> out;
  for (const double t :
       diffusers_grid("DDPMScheduler", scheduler, length, count, checker).timesteps)
    out.push_back(static_cast<int64_t>(t));
  return out;
}

Refusal refused_scheduler(const Json& scheduler) {
  if (scheduler.empty()) return "a scheduler without scheduler_config";
  return first_refusal(
      {unknown_keys(
           "scheduler_config", scheduler,
           {"_class_name", "_diffusers_version", "num_train_timesteps", "beta_start", "beta_end",
            "beta_schedule", "trained_betas", "variance_type", "clip_sample", "set_alpha_to_one",
            "steps_offset", "prediction_type", "thresholding", "dynamic_thresholding_ratio",
            "clip_sample_range", "sample_max_value", "timestep_spacing", "rescale_betas_zero_snr"}),
       other_value("beta_schedule", scheduler,
                   {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "exp", "laplace"}),
       other_value("prediction_type", scheduler, {"epsilon", "sample", "v_prediction"}),
       other_value("timestep_spacing", scheduler, {"leading", "trailing", "linspace"}),
       other_value("variance_type", scheduler,
                   {"fixed_small", "fixed_small_log", "fixed_large", "learned", "learned_range"})});
}

DiffusersRun run_diffusers_ddpm(const Json& scheduler, const std::vector<int64_t>& timesteps,
                                const std::shared_ptr<Network>& network, const Tensor& start,
                                const Draws& draws, Checker& checker) {
  const Schedule chain = diffusers_chain(scheduler);
  const std::vector<Transition> transitions = ddpm_transitions(chain, timesteps);
  const Denoiser bare =
      make_denoiser(network, parameterisation_of(scheduler, timestep_label(chain)));
  Tensor var_mix;  // of the last prediction
  Denoiser denoiser = [&](const Tensor& x, Levels levels, const Condition& condition) {
    Prediction prediction = bare(x, levels, condition);
    var_mix = prediction.var_mix;
    return prediction;
  };
  const std::string type = scheduler.at("variance_type");
  if (type == "learned") {
    checker.compatibility("diffusers: learned networks give the variance itself");
    denoiser = variance_as_mix(denoiser, transitions, false);
  }
  const Correction last_noise = [&](const Tensor& x, const Transition& transition, int64_t step) {
    if (transition.to.sigma > 0 || timesteps[static_cast<size_t>(step)] <= 0) return x;
    checker.compatibility(
        "diffusers: DDPM adds noise in a step to data unless it starts at timestep 0");
    const Tensor log_variance = last_log_variance(type, transition.from, var_mix, x);
    return x + (0.5 * log_variance).exp() * draws(step);
  };
  const std::string variance = type == "fixed_large"             ? "large"
                               : type.starts_with("fixed_small") ? "small"
                                                                 : "learned";
  return {run_trajectory(draws, ddpm({.variance = variance, .clip = false}),
                         limited(denoiser, scheduler), start, transitions, last_noise),
          transitions};
}

DiffusersRun run_diffusers_ddim(const Json& scheduler, const std::vector<int64_t>& timesteps,
                                int64_t count, const DdimStep& options,
                                const std::shared_ptr<Network>& network, const Tensor& start,
                                const Draws& draws, Checker& checker) {
  const Schedule chain = diffusers_chain(scheduler);
  const std::vector<Transition> transitions =
      ddim_transitions(chain, timesteps, count, scheduler.at("set_alpha_to_one"), checker);
  std::vector<Tensor> raw, used;
  const Denoiser denoiser = recording(
      make_denoiser(network, parameterisation_of(scheduler, timestep_label(chain))), &raw);
  const Denoiser bounded = recording(limited(denoiser, scheduler), &used);
  const Sampler sampler = ddim({.eta = options.eta, .clip = false});

  // By default the scheduler moves along the network's own eps although it has clipped x0; our
  // sampler derives eps from the x0 that it uses.
  const bool limits =
      scheduler.at("clip_sample").get<bool>() || scheduler.at("thresholding").get<bool>();
  if (!limits || options.use_clipped_model_output)
    return {run_trajectory(draws, sampler, bounded, start, transitions), transitions};
  checker.compatibility("diffusers: DDIM keeps the network's eps when it clips x0");
  const Denoiser unbounded = [&](const Tensor& x, Levels levels, const Condition& condition) {
    bounded(x, levels, condition);
    return Prediction{raw.back(), {}};
  };
  const Correction clip_x0 = [&](const Tensor& x, const Transition& transition, int64_t) {
    return x + transition.to.alpha * (used.back() - raw.back());
  };
  Trajectory trajectory =
      run_trajectory(draws, sampler, unbounded, start, transitions, clip_x0, true);
  trajectory.pred_x0 = used;
  return {trajectory, transitions};
}

}  // namespace tweedie::reference
