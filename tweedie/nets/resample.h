// Halving and doubling images with a filter, as StyleGAN 2 does (arXiv:1912.04958, appendix B).
#pragma once

#include <vector>

#include <torch/types.h>

namespace tweedie {

using torch::Tensor;

/// x [B, C, H, W] smoothed by the outer product of the filter with itself (an even number of taps,
/// divided by their sum), every second pixel: [B, C, H/2, W/2].  [1, 1] is the mean of 2 x 2
/// pixels.
Tensor halved(const Tensor& x, const std::vector<double>& filter);

/// The same of an x that has its (taps - 2)/2 zeros on every side already.
Tensor halved_inside(const Tensor& x, const std::vector<double>& filter);

/// The transpose of halved(), times 4: [B, C, 2H, 2W].  [1, 1] repeats pixels.
Tensor doubled(const Tensor& x, const std::vector<double>& filter);

}  // namespace tweedie
