// The cases of diffusers' schedulers of consistency models: CMStochasticIterativeScheduler,
// LCMScheduler and TCDScheduler.
#include <algorithm>
#include <cmath>

#include "diffusers_grids.h"
#include "diffusers_trajectory.h"
#include "peer_samplers.h"
#include "tweedie/samplers/renoise.h"

namespace tweedie::reference {
namespace {

/// Every `T // steps`-th of Karras' T levels, from noise to data, the least not among them.
std::vector<double> consistency_sigmas(const Json& scheduler, int64_t steps) {
  const int64_t length = static_cast<int64_t>(number_of(scheduler, "num_train_timesteps"));
  const std::vector<double> all =
      karras_ratios(number_of(scheduler, "sigma_min"), number_of(scheduler, "sigma_max"), length,
                    number_of(scheduler, "rho"));
  std::vector<double> sigmas;
  for (int64_t i = 0; i < steps; ++i)
    sigmas.push_back(all[static_cast<size_t>(i * (length / steps))]);
  return sigmas;
}

/// The state after the noise of a level, sqrt(sigma^2 - sigma_min^2), is at sigma: our path has the
/// one, the network sees the other.
Path consistency_path(const std::vector<double>& sigmas, double least) {
  Path path;
  for (const double sigma : sigmas)
    path.push_back(ve_level(std::sqrt(sigma * sigma - least * least), 250 * std::log(sigma)));
  path.push_back(clean);
  return path;
}

/// The pack's network is such that with c_skip and c_out it is E[x_0 | x], which is recorded.
void run_consistency(const Case& the_case, Checker& checker) {
  const Json scheduler = the_case.row.at("scheduler_config");
  const double least = number_of(scheduler, "sigma_min");
  std::vector<double> sigmas =
      consistency_sigmas(scheduler, the_case.config.at("num_inference_steps"));
  checker.compatibility("diffusers: consistency models' levels count the least noise as data's");
  NetworkView view{
      .sigma_seen = [=](const Level& level) { return std::hypot(level.sigma, least); }};
  if (scheduler.at("clip_denoised"))
    view.around = [](Denoiser network) { return clipped(network); };
  const PeerRun run = run_peer(the_case, view, renoise(), sigmas[0] * the_case.tensor("x_T"),
                               consistency_path(sigmas, least),
                               draws_in_order(the_case, number_of(scheduler, "s_noise")));
  compare_evaluated(the_case, checker, run.x.back(), run.evaluations);
  std::vector<double> timesteps;
  for (const Level& level : run.evaluations.level) timesteps.push_back(level.t);
  checker.compare("timesteps", to_tensor(timesteps));
  sigmas.push_back(least);
  checker.compare("sigmas", to_tensor(sigmas));
}

/// What LCMScheduler and TCDScheduler share: timesteps out of those that the model was distilled
/// on.
std::vector<int64_t> distilled_timesteps(const Case& the_case) {
  const Json& config = the_case.config;
  Json settings = the_case.row.at("scheduler_config");
  settings.update(config.value("set_timesteps", Json::object()));
  const int64_t of_model = static_cast<int64_t>(number_of(settings, "original_inference_steps")),
                stride =
                    static_cast<int64_t>(number_of(settings, "num_train_timesteps")) / of_model,
                kept = static_cast<int64_t>(static_cast<double>(of_model) *
                                            settings.value("strength", 1.0));
  const int64_t steps = config.at("num_inference_steps");
  std::vector<int64_t> out;
  for (int64_t i = 0; i < steps; ++i) out.push_back((kept - kept * i / steps) * stride - 1);
  return out;
}

void compare_distilled(const Case& the_case, Checker& checker, const PeerRun& run,
                       const Schedule& chain, const std::vector<int64_t>& timesteps) {
  compare_run(the_case, checker, run);
  compare_alpha_bars(checker, chain);
  checker.compare("timesteps", at::tensor(timesteps, at::kLong));
}

/// skip x + out F.
struct Boundary {
  double skip, out;
};

/// c_skip and c_out in the scaled timestep.
Boundary latent_boundary(double scaled) {
  constexpr double kData = 0.5;
  const double root = std::hypot(scaled, kData);
  return {kData * kData / (root * root), scaled / root};
}

void run_lcm(const Case& the_case, Checker& checker) {
  const Json scheduler = the_case.row.at("scheduler_config");
  const Schedule chain = diffusers_chain(scheduler);
  const std::vector<int64_t> timesteps = distilled_timesteps(the_case);
  Path path;
  for (const int64_t t : timesteps) path.push_back(numbered_level(chain, t));
  path.push_back(clean);
  const double scaling = number_of(scheduler, "timestep_scaling");
  const bool clips = scheduler.at("clip_sample");
  const double range = number_of(scheduler, "clip_sample_range");
  const auto around = [=](Denoiser network) {
    const Denoiser limited = clips ? clipped(network, -range, range) : network;
    return [=](const Tensor& x, Levels levels, const Condition& condition) {
      const Boundary c = latent_boundary(scaling * levels.front().t);
      return Prediction{c.skip * x + c.out * limited(x, levels, condition).x0, {}};
    };
  };
  const PeerRun run = run_peer(
      the_case, {.prediction = the_case.config.value("prediction", "epsilon"), .around = around},
      renoise(), the_case.tensor("x_T"), path, recorded_draws(the_case));
  compare_distilled(the_case, checker, run, chain, timesteps);
}

/// The share of new noise that takes a state from the level `lower` up to `to` (Zheng et al. 2024,
/// arXiv:2402.19159, algorithm 4).
double fresh_share(const Level& lower, const Level& to) {
  const double kept = to.alpha / lower.alpha * lower.sigma / to.sigma;
  return std::max(0.0, 1 - kept * kept);
}

/// A sampler of its own for every step.
Sampler step_by_step(std::vector<Sampler> samplers) {
  return [=](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
             const Noise& noise, const Observer& observe) {
    for (size_t i = 0; i < samplers.size(); ++i)
      x = samplers[i](denoiser, x, {path[i], path[i + 1]}, condition, noise, observe);
    return x;
  };
}

void run_tcd(const Case& the_case, Checker& checker) {
  checker.compatibility("diffusers: TCD ends at the level of timestep 0, not at clean data");
  const Json scheduler = the_case.row.at("scheduler_config");
  const Schedule chain = diffusers_chain(scheduler);
  const double eta = the_case.config.value("step", Json::object()).value("eta", 0.3);
  const std::vector<int64_t> timesteps = distilled_timesteps(the_case);
  Path path;
  std::vector<Sampler> samplers;
  for (size_t i = 0; i < timesteps.size(); ++i) {
    path.push_back(numbered_level(chain, timesteps[i]));
    const int64_t to = i + 1 < timesteps.size() ? timesteps[i + 1] : 0,
                  lower = static_cast<int64_t>(std::floor((1 - eta) * static_cast<double>(to)));
    samplers.push_back(
        renoise({.fresh = fresh_share(numbered_level(chain, lower), numbered_level(chain, to))}));
  }
  path.push_back(numbered_level(chain, 0));
  const PeerRun run =
      run_peer(the_case, {.prediction = the_case.config.value("prediction", "epsilon")},
               step_by_step(samplers), the_case.tensor("x_T"), path, recorded_draws(the_case));
  compare_distilled(the_case, checker, run, chain, timesteps);
}

Refusal consistency_refusal(const Json& config, const Json& scheduler) {
  return first_refusal({refused_diffusers_config(config),
                        unknown_keys("scheduler_config", scheduler,
                                     {"num_train_timesteps", "sigma_min", "sigma_max", "sigma_data",
                                      "s_noise", "rho", "clip_denoised"}),
                        other_value("prediction", config, {"sample"})});
}

Refusal distilled_refusal(const Json& config, const Json& scheduler) {
  const bool tcd = text_or_empty(config, "scheduler") == "TCDScheduler";
  if (config.value("prediction", "epsilon") != text_or_empty(scheduler, "prediction_type"))
    return "a network of another prediction than the scheduler's: not in this release";
  return first_refusal(
      {refused_diffusers_config(config, {"original_inference_steps", "strength"},
                                tcd ? std::vector<std::string>{"eta"} : std::vector<std::string>{}),
       unknown_keys(
           "scheduler_config", scheduler,
           {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas",
            "original_inference_steps", "clip_sample", "clip_sample_range", "set_alpha_to_one",
            "steps_offset", "prediction_type", "thresholding", "dynamic_thresholding_ratio",
            "sample_max_value", "timestep_spacing", "timestep_scaling", "rescale_betas_zero_snr"}),
       switched_on(scheduler, {"thresholding", tcd ? "clip_sample" : "thresholding"}),
       other_value("beta_schedule", scheduler, {"linear", "scaled_linear", "squaredcos_cap_v2"}),
       other_value("prediction", config, {"epsilon", "sample", "v_prediction"})});
}

}  // namespace

Plan plan_diffusers_consistency_sampler(const Json& row) {
  const Json config = row.value("config", Json::object()),
             scheduler = row.value("scheduler_config", Json::object());
  const std::string name = text_or_empty(config, "scheduler");
  const bool distilled = name != "CMStochasticIterativeScheduler";
  const Refusal refusal =
      distilled ? distilled_refusal(config, scheduler) : consistency_refusal(config, scheduler);
  if (!refusal.empty()) return {{}, refusal};
  return {name == "LCMScheduler"   ? run_lcm
          : name == "TCDScheduler" ? run_tcd
                                   : run_consistency,
          ""};
}

}  // namespace tweedie::reference
