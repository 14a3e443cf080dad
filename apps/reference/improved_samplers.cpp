// improved-diffusion's samplers (and guided-diffusion's, which add a classifier): GaussianDiffusion
// over a respaced chain.
#include <algorithm>
#include <cmath>

#include "improved_process.h"
#include "mixture.h"
#include "peer_samplers.h"
#include "peer_tables.h"
#include "trajectory.h"
#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/ddpm.h"

namespace tweedie::reference {
namespace {

struct Setting {
  std::string sampler, mean, variance;
  bool clip;
  ImprovedProcess process;

  explicit Setting(const Json& config)
      : sampler(config.at("sampler")),
        mean(config.value("mean", "EPSILON")),
        variance(config.value("var", "FIXED_SMALL")),
        clip(config.value("clip_denoised", false)),
        process(config) {}

  /// From noise to data, or for the inverse from data to noise: it ends at alpha_bar = 0.
  std::vector<Transition> transitions() const {
    Path path = process.path();
    if (sampler == "ddim_reverse") {
      path.pop_back();
      std::reverse(path.begin(), path.end());
      path.push_back({process.chain.t_max, 0, 1, NAN, NAN});
    }
    std::vector<Transition> out;
    for (size_t i = 0; i + 1 < path.size(); ++i) out.push_back({path[i], path[i + 1]});
    return out;
  }
};

/// What is appended to the network's output.
Tensor with_variance_head(const Tensor& mean, const Tensor& x, const std::string& variance) {
  if (variance == "LEARNED_RANGE") return at::cat({mean, (3 * x).sin()}, 1);
  if (variance == "LEARNED") return at::cat({mean, -5 + 0.5 * (3 * x).sin()}, 1);
  return mean;
}

/// Dhariwal & Nichol 2021 (arXiv:2105.05233): a step of ancestral sampling has its mean shifted by
/// variance * gradient (algorithm 1), one of DDIM has its eps shifted by -sigma * gradient
/// (algorithm 2).  Both are shifts of the predicted x0.
Denoiser classifier_guided(Denoiser denoiser, const Case& the_case, const Mixture& mixture,
                           const Setting& setting) {
  const double scale = the_case.config.at("guidance");
  const Tensor wanted = the_case.tensor("y");
  const bool of_eps = setting.sampler != "ddpm";
  return [=, path = setting.process.path()](const Tensor& x, Levels levels,
                                            const Condition& condition) {
    Prediction prediction = denoiser(x, levels, condition);
    const Level& level = levels.front();
    const Posterior q = posterior(level_after(path, level), level);
    const double shift = of_eps ? level.sigma * level.sigma / level.alpha : q.var / q.c_x0;
    prediction.x0 = prediction.x0 + shift * scale * mixture.component_score(x, level, wanted);
    return prediction;
  };
}

void compare_chain(Checker& checker, const Setting& setting) {
  std::vector<double> alpha_bar, betas;
  for (int64_t t = 0; t < setting.process.chain.steps; ++t) {
    const double alpha = level_of_timestep(setting.process.chain, t).alpha;
    alpha_bar.push_back(alpha * alpha);
  }
  Level before = clean;
  for (const int64_t t : setting.process.kept) {
    const Level level = level_of_timestep(setting.process.chain, t);
    betas.push_back(posterior(before, level).var_large);
    before = level;
  }
  checker.compare("alphas_cumprod_base", at::tensor(alpha_bar, at::kDouble));
  checker.compare("timestep_map", at::tensor(setting.process.kept, at::kLong));
  checker.compare("betas_respaced", at::tensor(betas, at::kDouble));
}

void run_improved_samplers(const Case& the_case, Checker& checker) {
  const Setting setting(the_case.config);
  const Mixture mixture = mixture_of(the_case, the_case.config.at("gmm"));
  const std::vector<Transition> transitions = setting.transitions();
  const Path path = setting.process.path();
  const auto network = std::make_shared<AnalyticNetwork>(
      [&](double label) { return setting.process.level_of_label(label); },
      [&](const Tensor& x, const Level& level) {
        const Tensor x0 = mixture.x0(x, level);
        if (setting.mean == "START_X") return with_variance_head(x0, x, setting.variance);
        if (setting.mean == "EPSILON")
          return with_variance_head(eps_from_x0(x, x0, level), x, setting.variance);
        const Posterior q = posterior(level_after(path, level), level);
        return with_variance_head(q.c_x * x + q.c_x0 * x0, x, setting.variance);
      });
  Denoiser denoiser = make_denoiser(
      network, improved_parameterisation(setting.mean, setting.process.label(), path));
  if (setting.variance == "LEARNED") {
    checker.compatibility("improved-diffusion: LEARNED networks give the log variance itself");
    denoiser = variance_as_mix(denoiser, transitions, true);
  }

  const bool ancestral = setting.sampler == "ddpm", guided = the_case.config.contains("guidance");
  const bool clip_only_report = setting.clip && ancestral && setting.mean == "PREVIOUS_X";
  if (clip_only_report)
    checker.compatibility("improved-diffusion: PREVIOUS_X is not clipped, only its reported x0 is");
  if (setting.clip && guided) denoiser = clipped(denoiser);  // before the gradient is added
  std::vector<Tensor> unguided;
  if (guided)
    denoiser = classifier_guided(recording(denoiser, &unguided), the_case, mixture, setting);
  const bool clip = setting.clip && !guided && !clip_only_report;
  const std::string variance = setting.variance == "FIXED_SMALL"   ? "small"
                               : setting.variance == "FIXED_LARGE" ? "large"
                                                                   : "learned";
  const Sampler sampler = ancestral
                              ? ddpm({.variance = variance, .clip = clip})
                              : ddim({.eta = the_case.config.value("eta", 0.0), .clip = clip});
  const Tensor start = the_case.tensor(setting.sampler == "ddim_reverse" ? "x0" : "x_T");
  Trajectory trajectory = run_trajectory(draws_of(the_case), sampler, denoiser, start, transitions);
  if (ancestral && guided) trajectory.pred_x0 = unguided;  // only DDIM reports the guided one
  if (clip_only_report)
    for (Tensor& x0 : trajectory.pred_x0) x0 = x0.clamp(-1, 1);
  compare_trajectory(the_case, checker, trajectory, transitions, network->calls);
  compare_chain(checker, setting);
}

}  // namespace

Plan plan_improved_sampler(const Json& row) {
  const Json config = row.value("config", Json::object());
  const Refusal refusal = first_refusal({
      unknown_keys(
          "config", config,
          {"T", "sampler", "gmm", "schedule", "respacing", "eta", "clip_denoised", "inputs", "var",
           "mean", "rescale_timesteps", "guidance", "guided", "keep_calls"}),
      other_value("sampler", config, {"ddpm", "ddim", "ddim_reverse"}),
      other_value("mean", config, {"EPSILON", "START_X", "PREVIOUS_X"}),
      other_value("var", config, {"FIXED_SMALL", "FIXED_LARGE", "LEARNED", "LEARNED_RANGE"}),
      other_value("schedule", config, {"linear", "cosine"}),
  });
  if (!refusal.empty()) return {{}, refusal};
  if (config.contains("guidance") && (config.value("var", "FIXED_SMALL") != "FIXED_SMALL" ||
                                      config.value("sampler", "") == "ddim_reverse"))
    return {{}, "guidance with config " + config.dump() + ": not in this release"};
  return {run_improved_samplers, ""};
}

}  // namespace tweedie::reference
