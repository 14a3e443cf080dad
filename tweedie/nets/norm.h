// GroupNorm and SiLU as one operation.
#pragma once

#include <torch/types.h>

namespace tweedie {

using torch::Tensor;

/// SiLU(GroupNorm(x)), or GroupNorm alone; x [B, C, ...].  Wu & He 2018 (arXiv:1803.08494). float32
/// on a CPU and bf16 images on CUDA go through our kernels; everything else through LibTorch's
/// operations, which are the specification.
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias,
                  double epsilon, bool silu);

}  // namespace tweedie
