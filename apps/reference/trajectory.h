// Runs one of our samplers over a peer's transitions and compares every intermediate state.
#pragma once

#include <functional>
#include <vector>

#include "analytic_network.h"
#include "checker.h"
#include "tweedie/model/sampler.h"

namespace tweedie::reference {

/// One step of a sampler: evaluated at `from`, the state belongs to `to` afterwards.
struct Transition {
  Level from, to;
};

struct Trajectory {
  std::vector<Tensor> x, pred_x0;  // x has the start and the state after every step
};

/// The standard normal numbers of a step.
using Draws = std::function<Tensor(int64_t step)>;
/// The draws that the case recorded, by the step they were made in.  Throws Error if there is none.
Draws draws_of(const Case& the_case);

/// What a peer does to the state after a step that our sampler does not.
using Correction = std::function<Tensor(const Tensor& x, const Transition&, int64_t step)>;

/// The sampler over the transitions: over as long paths as they make, or with `one_by_one` each
/// alone, so that a correction reaches the next one.
Trajectory run_trajectory(const Draws& draws, const Sampler& sampler, const Denoiser& denoiser,
                          const Tensor& start, const std::vector<Transition>& transitions,
                          const Correction& correction = {}, bool one_by_one = false);

/// Compares x, x_final, pred_x0 and, where they were kept, the calls of the network.
void compare_trajectory(const Case& the_case, Checker& checker, const Trajectory& trajectory,
                        const std::vector<Transition>& transitions, const Calls& calls);

/// Appends what the denoiser predicts to `into`.
Denoiser recording(Denoiser denoiser, std::vector<Tensor>* into);

/// Reads the network's second half as a variance or, with `logarithm`, its log, and gives it as the
/// mix of the posterior's two log variances that our samplers expect.  `transitions` say where each
/// level goes to.
Denoiser variance_as_mix(Denoiser denoiser, std::vector<Transition> transitions, bool logarithm);

}  // namespace tweedie::reference
