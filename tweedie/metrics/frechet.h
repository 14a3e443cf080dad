// Frechet distance of two sets of features: what FID is, whatever network the features are of.
#pragma once

#include "tweedie/metrics/rows.h"

namespace tweedie {

/// |m - m'|^2 + tr(C + C' - 2 (C^(1/2) C' C^(1/2))^(1/2)): the squared W2 distance of two normal
/// distributions.  Dowson & Landau 1982 (doi:10.1016/0047-259X(82)90077-X), eq. 16.  Means [D],
/// covariances [D, D].  Throws Error on other shapes, and on a covariance that is not symmetric or
/// has an eigenvalue below -1e-8 times its largest.
double frechet_distance(const Tensor& mean_a, const Tensor& covariance_a, const Tensor& mean_b,
                        const Tensor& covariance_b);

struct FrechetOptions {
  bool any_size =
      false;  // compute it also where sets are too small for the number to mean anything
};

struct Frechet {
  double squared_distance;  // as FID is quoted
  int64_t examples_a, examples_b, dims;
};

/// Of the sets' means and unbiased covariances (Heusel et al. 2017, arXiv:1706.08500).  Throws
/// Error where the smaller set has fewer than 10 D or fewer than 2048 examples, unless `any_size`:
/// the estimate is biased upwards, the more the smaller the sets.
Frechet frechet(const Tensor& a, const Tensor& b, const FrechetOptions& options = {});

}  // namespace tweedie
