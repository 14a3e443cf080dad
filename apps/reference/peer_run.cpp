#include "peer_run.h"

#include <cmath>

#include "peer_tables.h"
#include "tweedie/base/error.h"

namespace tweedie::reference {
namespace {

/// The network's output at `level`, and x_0 read from it.
std::pair<Tensor, Tensor> answer(const Mixture& mixture, const std::string& prediction,
                                 const Tensor& x, const Level& level) {
  const Tensor x0 = mixture.x0(x, level);
  if (prediction == "denoised" || prediction == "sample") return {x0, x0};
  const Tensor eps = eps_from_x0(x, x0, level);
  if (prediction == "epsilon") return {eps, (x - level.sigma * eps) / level.alpha};
  if (prediction == "score") {
    const Tensor score = -eps / level.sigma;
    return {score, (x + level.sigma * level.sigma * score) / level.alpha};
  }
  if (prediction == "flow_prediction") {
    const Tensor velocity = eps - x0;
    return {velocity, x - level.sigma * velocity};
  }
  check(prediction == "v_prediction", "prediction '", prediction, "' is not understood");
  const Tensor v = level.alpha * eps - level.sigma * x0;
  const double square = level.alpha * level.alpha + level.sigma * level.sigma;
  return {v, (level.alpha * x - level.sigma * v) / square};
}

}  // namespace

Denoiser exact_denoiser(const Mixture& mixture, NetworkView view, Evaluations* into) {
  const Denoiser network = [=](const Tensor& x, Levels levels, const Condition&) {
    check(levels.size() == 1, "the exact denoiser of a pack has one level for the batch");
    Level level = levels.front();
    if (view.sigma_seen) level.sigma = view.sigma_seen(level);
    Tensor input = x;
    if (view.scaled) {
      const double scale = 1 / std::hypot(1.0, level.sigma);
      input = scale * x;
      level.alpha = scale, level.sigma *= scale;
    }
    const auto [out, x0] = answer(mixture, view.prediction, input, level);
    into->state.push_back(x);
    into->x.push_back(input);
    into->out.push_back(out);
    into->x0.push_back(x0);
    into->level.push_back(level);
    return Prediction{x0, {}};
  };
  return view.around ? view.around(network) : network;
}

StepDraws recorded_draws(const Case& the_case) {
  return [&](int64_t step, int64_t k) {
    const Tensor steps = the_case.tensor("noise_step").to(at::kLong);
    for (int64_t j = 0; j < steps.size(0); ++j)
      if (steps[j].item<int64_t>() == step && k-- == 0) return the_case.tensor("noise")[j];
    throw Error(the_case.id + ": the pack has no further draw for step " + std::to_string(step));
  };
}

StepDraws draws_in_order(const Case& the_case, double scale) {
  return [&the_case, scale, next = std::make_shared<int64_t>(0)](int64_t, int64_t) {
    const Tensor& draws = the_case.tensor("noise");
    check(*next < draws.size(0), the_case.id, ": the pack has no further draw");
    return scale * draws[(*next)++];
  };
}

PeerRun run_peer(const Case& the_case, const NetworkView& view, const Sampler& sampler,
                 const Tensor& start, const Path& path, const StepDraws& draws) {
  return run_peer(the_case, view, sampler, start, std::vector<Path>{path}, draws);
}

PeerRun run_peer(const Case& the_case, const NetworkView& view, const Sampler& sampler,
                 const Tensor& start, const std::vector<Path>& paths, const StepDraws& draws) {
  PeerRun run;
  run.x.push_back(start);
  run.first.push_back(0);
  const Denoiser denoiser =
      exact_denoiser(mixture_of(the_case, the_case.config.at("gmm")), view, &run.evaluations);
  int64_t step = 0, k = 0;
  const Noise noise = [&](const Tensor& like, const Level&, const Level&) {
    return draws(step, k++).reshape(like.sizes());
  };
  const Observer observe = [&](const Step& done) {
    run.x.push_back(done.x);
    run.x0.push_back(done.x0);
    run.first.push_back(run.evaluations.x.size());
    ++step;
    k = 0;
  };
  for (const Path& path : paths) sampler(denoiser, run.x.back(), path, {}, noise, observe);
  return run;
}

void compare_calls(const Case& the_case, Checker& checker, const Evaluations& evaluations) {
  if (!the_case.has("call_x")) return;
  const auto numbers = [&](double Level::*member) {
    std::vector<double> out;
    for (const Level& level : evaluations.level) out.push_back(level.*member);
    return to_tensor(out);
  };
  checker.compare("call_x", at::stack(evaluations.x));
  checker.compare("call_alpha", numbers(&Level::alpha));
  checker.compare("call_sigma", numbers(&Level::sigma));
  checker.compare("call_out", at::stack(evaluations.out));
  if (the_case.has("call_t")) checker.compare("call_t", numbers(&Level::t));
}

void compare_run(const Case& the_case, Checker& checker, const PeerRun& run) {
  checker.compare("x_final", run.x.back());
  if (the_case.has("x")) checker.compare("x", at::stack(run.x));
  if (the_case.has("pred_x0")) checker.compare("pred_x0", at::stack(run.x0));
  compare_calls(the_case, checker, run.evaluations);
}

Level ve_level(double sigma, double t) { return {t, 1, sigma, 0, 1}; }

Path ve_path(const std::vector<double>& sigmas, const std::vector<double>& times) {
  Path path;
  for (size_t i = 0; i < sigmas.size(); ++i)
    path.push_back(ve_level(sigmas[i], i < times.size() ? times[i] : sigmas[i]));
  path.between = [](double log_snr) {
    const double sigma = std::exp(-0.5 * log_snr);
    return ve_level(sigma, sigma);
  };
  return path;
}

}  // namespace tweedie::reference
