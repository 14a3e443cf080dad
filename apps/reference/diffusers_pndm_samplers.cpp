// The cases of diffusers' PNDMScheduler and IPNDMScheduler.
#include <cmath>
#include <numbers>

#include "diffusers_grids.h"
#include "diffusers_trajectory.h"
#include "mixture.h"
#include "peer_samplers.h"
#include "tweedie/process/compat.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/linear_multistep.h"

namespace tweedie::reference {
namespace {

/// PNDMScheduler's chain and how it strides along it.
struct PndmGrid {
  Schedule chain;
  std::vector<int64_t> timesteps;  // without the repeated ones
  int64_t stride;
  Level end;

  PndmGrid(const Json& scheduler, int64_t steps, Checker& checker)
      : chain(diffusers_chain(scheduler)),
        stride(chain.steps / steps),
        end(scheduler.at("set_alpha_to_one") ? clean : numbered_level(chain, 0)) {
    for (const double t :
         diffusers_grid("DDPMScheduler", scheduler, chain.steps, steps, checker).timesteps)
      timesteps.push_back(static_cast<int64_t>(t));
    if (end.sigma > 0)
      checker.compatibility("diffusers: PNDM ends at the level of timestep 0, not at clean data");
  }

  Level at(int64_t timestep) const { return timestep < 0 ? end : numbered_level(chain, timestep); }

  /// The way over all timesteps; a Runge-Kutta step's middle is half way in the timestep.
  Path path() const {
    Path out;
    for (const int64_t t : timesteps) out.push_back(at(t));
    out.push_back(at(timesteps.back() - stride));
    out.between = [grid = *this, levels = out](double wanted) {
      size_t i = 0;
      while (log_snr(levels[i + 1]) < wanted) ++i;
      return grid.at(grid.timesteps[i] - grid.stride / 2);
    };
    return out;
  }
};

/// A step of the eps that combines what the network said, or of its v.
Tensor pndm_step(const std::string& prediction, const Tensor& x, const Tensor& output,
                 const Level& from, const Level& to) {
  const Tensor x0 = prediction == "v_prediction" ? from.alpha * x - from.sigma * output
                                                 : (x - from.sigma * output) / from.alpha;
  const Denoiser known = [&](const Tensor&, Levels, const Condition&) {
    return Prediction{x0, {}};
  };
  return ddim({.clip = false})(known, x, {from, to}, {}, {}, {});
}

Tensor combined_outputs(const std::vector<Tensor>& outputs) {
  const std::vector<double> weights = even_weights(std::min<size_t>(outputs.size(), 4));
  Tensor out = at::zeros_like(outputs.back());
  for (size_t j = 0; j < weights.size(); ++j)
    out = out + weights[j] * outputs[outputs.size() - 1 - j];
  return out;
}

/// Pseudo linear multistep with strides that do not meet the next timestep, or of v.
Tensor run_plms_by_strides(const Case& the_case, const PndmGrid& grid,
                           const std::string& prediction, Evaluations& evaluations) {
  const Denoiser network = exact_denoiser(mixture_of(the_case, the_case.config.at("gmm")),
                                          {.prediction = prediction}, &evaluations);
  const auto answer = [&](const Tensor& x, int64_t t) {
    network(x, grid.at(t), {});
    return evaluations.out.back();
  };
  const auto step = [&](const Tensor& x, const Tensor& output, int64_t from) {
    return pndm_step(prediction, x, output, grid.at(from), grid.at(from - grid.stride));
  };
  const Tensor& start = the_case.tensor("x_T");
  const int64_t first = grid.timesteps[0], second = grid.timesteps[1];
  std::vector<Tensor> outputs{answer(start, first)};
  Tensor x = step(start, outputs[0], first);
  x = step(start, 0.5 * (outputs[0] + answer(x, second)), second + grid.stride);
  for (size_t i = 1; i < grid.timesteps.size(); ++i) {
    outputs.push_back(answer(x, grid.timesteps[i]));
    x = step(x, combined_outputs(outputs), grid.timesteps[i]);
  }
  return x;
}

void run_pndm(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  const Json scheduler = the_case.row.at("scheduler_config");
  const std::string prediction = config.value("prediction", "epsilon");
  const bool multistep_only = scheduler.value("skip_prk_steps", false);
  const PndmGrid grid(scheduler, config.at("num_inference_steps"), checker);
  const bool leading = scheduler.at("timestep_spacing") == "leading";
  if (!leading)
    checker.compatibility("diffusers: PNDM steps from t to t - T // n, not to the next timestep");
  if (prediction == "v_prediction")
    checker.compatibility("diffusers: PNDM combines the network's v, not eps");
  if (!multistep_only)
    checker.compatibility("diffusers: PNDM's Runge-Kutta steps are evaluated half way in t");
  if (leading && prediction == "epsilon") {
    const PeerRun run = run_peer(
        the_case, {.prediction = prediction},
        linear_multistep({.weights = "even", .start = multistep_only ? "heun" : "runge-kutta"}),
        the_case.tensor("x_T"), grid.path(), recorded_draws(the_case));
    compare_evaluated(the_case, checker, run.x.back(), run.evaluations);
  } else {
    Evaluations evaluations;
    const Tensor last = run_plms_by_strides(the_case, grid, prediction, evaluations);
    compare_evaluated(the_case, checker, last, evaluations);
  }
  compare_alpha_bars(checker, grid.chain);
  const std::vector<double> timesteps = diffusers_grid("PNDMScheduler", scheduler, grid.chain.steps,
                                                       config.at("num_inference_steps"), checker)
                                            .timesteps;
  checker.compare("timesteps", to_tensor(timesteps));
}

/// Levels on the unit circle, of noise sin^2.
Path ipndm_path(int64_t steps) {
  Path path;
  for (const double u : numpy_linspace(1, 0, steps + 1)) {
    const double root = std::sin(0.5 * std::numbers::pi * u), sigma = root * root,
                 alpha = std::sqrt(1 - sigma * sigma);
    path.push_back({2 / std::numbers::pi * std::atan2(sigma, alpha), alpha, sigma, NAN, NAN});
  }
  return path;
}

/// The peer takes what the network says for v, and the x_0 of pure noise for 0: it divides 0 by
/// 1e-8 there.
Denoiser answering_in_v(Denoiser network, const std::string& prediction) {
  return [=](const Tensor& x, Levels levels, const Condition& condition) {
    const Level& level = levels.front();
    const Tensor x0 = network(x, levels, condition).x0;
    if (level.alpha < 1e-8) return Prediction{at::zeros_like(x), {}};
    const Tensor output =
        prediction == "epsilon" ? eps_from_x0(x, x0, level) : v_from_x0(x, x0, level);
    return Prediction{level.alpha * x - level.sigma * output, {}};
  };
}

void run_ipndm(const Case& the_case, Checker& checker) {
  const std::string prediction = the_case.config.value("prediction", "epsilon");
  checker.compatibility("diffusers: IPNDM takes x0 = 0 at pure noise");
  if (prediction == "epsilon") checker.compatibility("diffusers: IPNDM takes eps for v");
  const PeerRun run =
      run_peer(the_case,
               {.prediction = prediction,
                .around = [=](Denoiser network) { return answering_in_v(network, prediction); }},
               linear_multistep({.weights = "even"}), the_case.tensor("x_T"),
               ipndm_path(the_case.config.at("num_inference_steps")), recorded_draws(the_case));
  compare_evaluated(the_case, checker, run.x.back(), run.evaluations);
  std::vector<double> timesteps;
  for (const Level& level : run.evaluations.level) timesteps.push_back(level.t);
  checker.compare("timesteps", to_tensor(timesteps));
}

Plan plan_ipndm(const Json& config, const Json& scheduler) {
  const Refusal refusal = first_refusal(
      {refused_diffusers_config(config),
       unknown_keys("scheduler_config", scheduler, {"num_train_timesteps", "trained_betas"}),
       switched_on(scheduler, {"trained_betas"}),
       other_value("prediction", config, {"epsilon", "v_prediction"})});
  if (!refusal.empty()) return {{}, refusal};
  return {run_ipndm, ""};
}

Refusal pndm_refusal(const Json& config, const Json& scheduler) {
  const std::string prediction = config.value("prediction", "epsilon");
  if (prediction != text_or_empty(scheduler, "prediction_type"))
    return "a network of another prediction than the scheduler's: not in this release";
  const bool plain =
      prediction == "epsilon" && text_or_empty(scheduler, "timestep_spacing") == "leading";
  if (config.value("num_inference_steps", 0) < 2) return "PNDM of one step: not in this release";
  if (!scheduler.value("skip_prk_steps", false) && !plain)
    return "Runge-Kutta steps of v or with another spacing than leading: not in this release";
  return {};
}

}  // namespace

Plan plan_diffusers_pndm_sampler(const Json& row) {
  const Json config = row.value("config", Json::object()),
             scheduler = row.value("scheduler_config", Json::object());
  if (text_or_empty(config, "scheduler") == "IPNDMScheduler") return plan_ipndm(config, scheduler);
  const Refusal refusal = first_refusal(
      {refused_diffusers_config(config),
       unknown_keys("scheduler_config", scheduler,
                    {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule",
                     "trained_betas", "skip_prk_steps", "set_alpha_to_one", "prediction_type",
                     "timestep_spacing", "steps_offset"}),
       other_value("beta_schedule", scheduler, {"linear", "scaled_linear", "squaredcos_cap_v2"}),
       other_value("timestep_spacing", scheduler, {"leading", "trailing", "linspace"}),
       other_value("prediction", config, {"epsilon", "v_prediction"}),
       pndm_refusal(config, scheduler)});
  if (!refusal.empty()) return {{}, refusal};
  return {run_pndm, ""};
}

}  // namespace tweedie::reference
