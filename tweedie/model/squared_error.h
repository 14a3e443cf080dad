// A network's error against a mix of data and noise, as one operation.
#pragma once

#include <torch/types.h>

namespace tweedie {

using torch::Tensor;

/// What the network is to say: of_x0 x0 + of_eps eps, with coefficients [B, 1, ...].
struct MixedTarget {
  Tensor x0, eps, of_x0, of_eps;
};

/// weight * mean over dimensions of (output - target)^2.  weight [B] -> [B].  float32 on a CPU is
/// one node of autograd, without gradients in target and weight; everything else is LibTorch's
/// operations, which are the specification, bit for bit on x86.
Tensor weighted_squared_error(const Tensor& output, const MixedTarget& target,
                              const Tensor& weight);

}  // namespace tweedie
