// Where a batch's levels lie: one u in [0, 1) for each example, before an objective makes it a
// level.
#pragma once

#include <string>
#include <vector>

#include "tweedie/process/loss_aware_steps.h"
#include "tweedie/tensor/random.h"

namespace tweedie {

/// `weights` keep the mean of weighted losses the mean over all levels and `steps` are what a
/// loss-aware sampler takes their losses for; both are empty where it does not draw.
struct LevelDraws {
  std::vector<double> u, weights;
  std::vector<int64_t> steps;
};

/// "uniform"; "antithetic": evenly spread from one random offset (Kingma et al. 2021,
/// arXiv:2107.00630, appendix I.1); "stratified": one in each of `batch` equal parts; a number is a
/// function of the key, its place in the batch and the training step.
LevelDraws draw_levels(const std::string& how, int64_t batch, RandomKey key, int64_t step);
/// As `sampler` says, each u anywhere in its step's part of [0, 1).
LevelDraws draw_levels(const LossAwareSteps& sampler, int64_t batch, RandomKey key, int64_t step);

}  // namespace tweedie
