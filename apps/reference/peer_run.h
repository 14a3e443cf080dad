// Runs one of our samplers along a peer's levels with the exact denoiser, and compares every state
// and every evaluation.
#pragma once

#include <string>
#include <vector>

#include "checker.h"
#include "mixture.h"
#include "tweedie/model/sampler.h"

namespace tweedie::reference {

/// What the network was asked and answered, evaluation by evaluation; the level is that of its
/// input, t the peer's own number for it.
struct Evaluations {
  std::vector<Tensor> state, x, out, x0;  // the sampler's state, the network's input and output
  std::vector<Level> level;
};

/// How a peer's network sees the state.
struct NetworkView {
  std::string prediction = "denoised";  // or sample, epsilon, score, v_prediction, flow_prediction
  bool scaled = false;  // the state is x_0 + sigma eps, the network's input that / hypot(1, sigma)
  std::function<double(const Level&)> sigma_seen = {};  // a wrapper may round sigma
  std::function<Denoiser(Denoiser)> around = {};  // what makes our denoiser of the peer's network
};

/// The mixture's E[x_0 | x_t] by way of what the peer's network says; recorded in `into`.
Denoiser exact_denoiser(const Mixture& mixture, NetworkView view, Evaluations* into);

struct PeerRun {
  std::vector<Tensor> x, x0;  // the start and the state after every step; its prediction
  std::vector<size_t> first;  // the first evaluation of each step
  Evaluations evaluations;
};

/// Standard normal draws of a step: the k-th that is asked for.
using StepDraws = std::function<Tensor(int64_t step, int64_t k)>;
/// Those that the case recorded.  Throws Error if there are no more.
StepDraws recorded_draws(const Case& the_case);
/// All of them in their order, whatever the step, times `scale`.
StepDraws draws_in_order(const Case& the_case, double scale = 1);

PeerRun run_peer(const Case& the_case, const NetworkView& view, const Sampler& sampler,
                 const Tensor& start, const Path& path, const StepDraws& draws);

/// Over several paths, one after the other.
PeerRun run_peer(const Case& the_case, const NetworkView& view, const Sampler& sampler,
                 const Tensor& start, const std::vector<Path>& paths, const StepDraws& draws);

/// Compares whatever the case has of x, x_final, pred_x0 and the network's calls.
void compare_run(const Case& the_case, Checker& checker, const PeerRun& run);
void compare_calls(const Case& the_case, Checker& checker, const Evaluations& evaluations);

/// The process x_0 + sigma eps: a level for each sigma, and the curve between them.
Level ve_level(double sigma, double t);
Path ve_path(const std::vector<double>& sigmas, const std::vector<double>& times = {});

}  // namespace tweedie::reference
