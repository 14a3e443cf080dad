// The cases of diffusers' RePaintScheduler.
#include <cmath>

#include "diffusers_trajectory.h"
#include "mixture.h"
#include "peer_samplers.h"
#include "peer_tables.h"
#include "tweedie/samplers/repaint.h"

namespace tweedie::reference {
namespace {

/// Every `stride`-th level of the chain, then data.
Path repaint_path(const Schedule& chain, int64_t steps) {
  const int64_t stride = chain.steps / steps;
  Path path;
  for (int64_t i = steps - 1; i >= 0; --i) path.push_back(numbered_level(chain, i * stride));
  path.push_back(clean);
  path.back().t = static_cast<double>(-stride);
  return path;
}

/// The peer's list of a walk: the timestep of a step down, and of one up that above its end.
std::vector<int64_t> listed(const Path& walk, int64_t stride) {
  std::vector<int64_t> out;
  for (size_t i = 0; i + 1 < walk.size(); ++i) {
    const int64_t from = std::llround(walk[i].t), to = std::llround(walk[i + 1].t);
    out.push_back(from > to ? from : to + stride);
  }
  return out;
}

/// Up by single steps of the chain, from `timestep` on.
Tensor gone_back_up(Tensor x, const std::vector<double>& betas, int64_t timestep, int64_t stride,
                    const StepDraws& draws) {
  for (int64_t i = 0; i < stride; ++i) {
    const double beta = betas.at(static_cast<size_t>(timestep + i));
    x = std::sqrt(1 - beta) * x + std::sqrt(beta) * draws(0, 0);
  }
  return x;
}

/// A step down by our sampler, with the one draw that the peer takes for both parts.
Tensor repainted(const Case& the_case, const Json& scheduler, const Denoiser& denoiser,
                 const Tensor& x, const Path& step, const Tensor& draw) {
  const Tensor &known = the_case.tensor("original"), &mask = the_case.tensor("mask");
  const Noise noise = [&](const Tensor&, const Level&, const Level&) { return draw; };
  Tensor x0;
  const Observer keep = [&](const Step& done) { x0 = done.x0; };
  const Tensor next =
      repaint({.known = known, .mask = mask, .eta = number_of(scheduler, "eta"), .clip = false})(
          denoiser, x, step, {}, noise, keep);
  if (!scheduler.at("clip_sample")) return next;
  return next + (1 - mask) * step.back().alpha * (x0.clamp(-1, 1) - x0);
}

void run_repaint(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  const Json scheduler = the_case.row.at("scheduler_config"),
             jumps = config.value("set_timesteps", Json::object());
  checker.compatibility("diffusers: RePaint uses one draw for the known and the unknown part");
  checker.compatibility("diffusers: RePaint goes up by the noise of the stride above");
  if (scheduler.at("clip_sample"))
    checker.compatibility("diffusers: RePaint keeps the network's eps when it clips x0");
  const Schedule chain = diffusers_chain(scheduler);
  const std::vector<double> betas = diffusers_betas(scheduler, chain.steps);
  const int64_t steps = config.at("num_inference_steps"), stride = chain.steps / steps;
  const Path walk =
      resampled_path(repaint_path(chain, steps), jumps.value("jump_length", int64_t{10}),
                     jumps.value("jump_n_sample", int64_t{10}));
  const std::vector<int64_t> timesteps = listed(walk, stride);
  Evaluations evaluations;
  const Denoiser denoiser = exact_denoiser(mixture_of(the_case, config.at("gmm")),
                                           {.prediction = "epsilon"}, &evaluations);
  const StepDraws draws = draws_in_order(the_case);
  std::vector<Tensor> x{the_case.tensor("x_T")};
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const bool down = walk[i].t > walk[i + 1].t;
    x.push_back(down ? repainted(the_case, scheduler, denoiser, x.back(), {walk[i], walk[i + 1]},
                                 draws(0, 0))
                     : gone_back_up(x.back(), betas, timesteps[i - 1], stride, draws));
  }
  checker.compare("x", at::stack(x));
  checker.compare("x_final", x.back());
  compare_calls(the_case, checker, evaluations);
  compare_alpha_bars(checker, chain);
  checker.compare("timesteps", at::tensor(timesteps, at::kLong));
}

}  // namespace

Plan plan_diffusers_repaint(const Json& row) {
  const Json config = row.value("config", Json::object()),
             scheduler = row.value("scheduler_config", Json::object());
  const Refusal refusal =
      first_refusal({refused_diffusers_config(config, {"jump_length", "jump_n_sample"}),
                     unknown_keys("scheduler_config", scheduler,
                                  {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule",
                                   "eta", "trained_betas", "clip_sample"}),
                     other_value("beta_schedule", scheduler,
                                 {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"}),
                     other_value("prediction", config, {"epsilon"})});
  if (!refusal.empty()) return {{}, refusal};
  return {run_repaint, ""};
}

}  // namespace tweedie::reference
