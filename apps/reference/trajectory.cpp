#include "trajectory.h"

#include <algorithm>
#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"

namespace tweedie::reference {
namespace {

bool same_level(const Level& a, const Level& b) {
  return a.t == b.t && a.alpha == b.alpha && a.sigma == b.sigma;
}

Tensor numbers(const std::vector<Transition>& transitions, double Level::*member) {
  Tensor out = at::empty({static_cast<int64_t>(transitions.size())}, at::kDouble);
  for (size_t i = 0; i < transitions.size(); ++i)
    out[static_cast<int64_t>(i)] = transitions[i].from.*member;
  return out;
}

}  // namespace

Draws draws_of(const Case& the_case) {
  return [&](int64_t step) {
    const Tensor steps = the_case.tensor("noise_step").to(at::kLong);
    for (int64_t j = 0; j < steps.size(0); ++j)
      if (steps[j].item<int64_t>() == step) return the_case.tensor("noise")[j];
    throw Error(the_case.id + ": the pack has no draw for step " + std::to_string(step));
  };
}

Trajectory run_trajectory(const Draws& draws, const Sampler& sampler, const Denoiser& denoiser,
                          const Tensor& start, const std::vector<Transition>& transitions,
                          const Correction& correction, bool one_by_one) {
  Trajectory out{{start}, {}};
  int64_t step = 0;
  const Noise noise = [&](const Tensor& like, const Level& t, const Level& s) {
    return recorded_noise({draws(step)})(like, t, s);
  };
  const Observer observe = [&](const Step& done) {
    out.x.push_back(correction ? correction(done.x, {done.from, done.to}, step) : done.x);
    out.pred_x0.push_back(done.x0);
    ++step;
  };
  for (size_t i = 0; i < transitions.size();) {
    Path path{transitions[i].from, transitions[i].to};
    ++i;
    for (; !one_by_one && i < transitions.size() && same_level(path.back(), transitions[i].from);
         ++i)
      path.push_back(transitions[i].to);
    sampler(denoiser, out.x.back(), path, {}, noise, observe);
  }
  return out;
}

void compare_trajectory(const Case& the_case, Checker& checker, const Trajectory& trajectory,
                        const std::vector<Transition>& transitions, const Calls& calls) {
  checker.compare("x_final", trajectory.x.back());
  if (the_case.has("x")) checker.compare("x", at::stack(trajectory.x));
  if (the_case.has("pred_x0")) checker.compare("pred_x0", at::stack(trajectory.pred_x0));
  if (!the_case.config.value("keep_calls", true)) return;
  checker.compare("call_x", at::stack(calls.x));
  checker.compare("call_alpha", numbers(transitions, &Level::alpha));
  checker.compare("call_sigma", numbers(transitions, &Level::sigma));
  checker.compare("call_t", at::stack(calls.label));
  checker.compare("call_out", at::stack(calls.out));
}

Denoiser recording(Denoiser denoiser, std::vector<Tensor>* into) {
  return [=](const Tensor& x_t, Levels levels, const Condition& condition) {
    Prediction prediction = denoiser(x_t, levels, condition);
    into->push_back(prediction.x0);
    return prediction;
  };
}

Denoiser variance_as_mix(Denoiser denoiser, std::vector<Transition> transitions, bool logarithm) {
  return [=](const Tensor& x_t, Levels levels, const Condition& condition) {
    Prediction prediction = denoiser(x_t, levels, condition);
    const auto found =
        std::find_if(transitions.begin(), transitions.end(),
                     [&](const Transition& t) { return same_level(t.from, levels.front()); });
    check(levels.size() == 1 && found != transitions.end(), "learned variance: unexpected level");
    if (found->to.sigma == 0) return prediction;  // the step to data has no noise
    const Posterior q = posterior(found->to, found->from);
    const Tensor output = 2 * prediction.var_mix - 1;  // as the network gave it
    prediction.var_mix =
        ((logarithm ? output : output.log()) - std::log(q.var)) / std::log(q.var_large / q.var);
    return prediction;
  };
}

}  // namespace tweedie::reference
