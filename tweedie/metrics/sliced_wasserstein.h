// Distance of two sets of points by their shadows on random lines.
#pragma once

#include "tweedie/metrics/rows.h"

namespace tweedie {

struct SlicedWassersteinOptions {
  int64_t projections = 512;
  uint64_t seed = 0;
};

struct SlicedWasserstein {
  double distance;  // in units of the data
  // What the choice of directions alone leaves uncertain, not that of points; NaN with one.
  double standard_error_over_projections;
  int64_t projections;
};

/// The root of the mean over random directions of W2^2 between the projections of a [N, ...] and b
/// [M, ...]: Bonneel et al. 2015 (doi:10.1007/s10851-014-0506-3), eq. 9, exact on every line for
/// any N and M.  Copies that are shifted by d are |d| / sqrt(D) apart.  Throws Error on sets that
/// cannot be compared.
SlicedWasserstein sliced_wasserstein(const Tensor& a, const Tensor& b,
                                     const SlicedWassersteinOptions& options = {});

}  // namespace tweedie
