// Whether two sets of points have one distribution, by how well a classifier tells them apart.
#pragma once

#include "tweedie/metrics/rows.h"

namespace tweedie {

struct ClassifierTestOptions {
  int64_t neighbours = 0;  // 0: the odd number next to the root of the points learned from
  uint64_t seed = 0;
};

struct ClassifierTest {
  double accuracy;  // on points not learned from; 1/2 if the sets are alike
  double standard_error;
  double p_value;  // of so high an accuracy or higher if they are
  int64_t neighbours, tested;
};

/// Lopez-Paz & Oquab 2017 (arXiv:1610.06545), section 3: as many points of each set as the smaller
/// one has, half of them to learn from, half to be told apart by their nearest neighbours; the
/// p-value by the normal approximation.  Throws Error on sets that cannot be compared or smaller
/// than 10.
ClassifierTest classifier_test(const Tensor& a, const Tensor& b,
                               const ClassifierTestOptions& options = {});

}  // namespace tweedie
