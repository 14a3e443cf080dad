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
  // Its standard error, of samples and threshold; never 0.
  double copied_error;
};

/// The error adds two variances: of the share p among S samples, as Wilson's interval has it (1927,
/// doi:10.1080/01621459.1927.10502953) so that it is none of 0 at the ends; and of the threshold,
/// on whose other side share (1 - share) / H of the samples would fall if they were like held-out
/// ones. A model that has learned the distribution and no examples has `copied` near `share`, and
/// one that repeats its training data near 1.  Throws Error on sets that cannot be compared and a
/// share that is not in (0, 1).
Memorisation memorisation(const Tensor& samples, const Tensor& train, const Tensor& held_out,
                          const MemorisationOptions& options = {});

}  // namespace tweedie
