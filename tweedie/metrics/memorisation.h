// Whether samples are copies of what a model was trained on.
#pragma once

#include "tweedie/metrics/rows.h"

namespace tweedie {

struct MemorisationOptions {
  double share =
      0.01;  // of the held-out examples that count as near to the training data by chance
};

/// Euclidean distances, in units of the data, to the nearest training example.
struct Memorisation {
  Tensor of_samples, of_held_out;  // [S], [H]
  Tensor nearest;                  // int64 [S], which training example is nearest to each sample
  double threshold;                // the `share` quantile of `of_held_out`
  double copied;                   // share of the samples that are nearer than that
  double copied_error;             // its standard error
};

/// A model that has learned the distribution and no examples has `copied` near `share`, and one
/// that repeats its training data near 1.  Throws Error on sets that cannot be compared and a share
/// that is not in (0, 1).
Memorisation memorisation(const Tensor& samples, const Tensor& train, const Tensor& held_out,
                          const MemorisationOptions& options = {});

}  // namespace tweedie
