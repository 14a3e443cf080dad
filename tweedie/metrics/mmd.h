// Whether two sets of points have one distribution, by the maximum mean discrepancy.
#pragma once

#include "tweedie/metrics/rows.h"

namespace tweedie {

struct MmdOptions {
  double bandwidth = 0;        // h of the kernel exp(-d^2 / (2 h^2)); 0: the median distance
  int64_t permutations = 199;  // of which set a point belongs to, for the p-value
  uint64_t seed = 0;
};

struct Mmd {
  double squared;  // unbiased: may be negative
  double p_value;  // (1 + permutations with as much or more) / (1 + permutations)
  double bandwidth;
  int64_t permutations;
};

/// Gretton et al. 2012 (jmlr.org/papers/v13/gretton12a.html), eq. 3, with a Gaussian kernel and a
/// permutation test.  Needs the matrix of all pairs: throws Error on more than 20,000 points
/// together, or sets that cannot be compared.
Mmd mmd(const Tensor& a, const Tensor& b, const MmdOptions& options = {});

}  // namespace tweedie
