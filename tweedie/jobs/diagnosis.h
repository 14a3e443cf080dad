// Where a training step stopped being finite.
#pragma once

#include <string>

#include "tweedie/datasets/loader.h"
#include "tweedie/model/network.h"
#include "tweedie/tensor/levels.h"

namespace tweedie {

struct StepRecord {
  int64_t step;
  const LoadedBatch& batch;
  const std::vector<Level>& levels;
  const std::vector<double>& losses;  // of each example
};

/// In words: the step, the first tensor that is not finite (data, then weights, then the loss, then
/// gradients, in the order of the network), its examples and their times t.
std::string describe_non_finite(const StepRecord& record, const Network& network);

}  // namespace tweedie
