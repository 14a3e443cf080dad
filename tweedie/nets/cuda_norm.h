// The norm of image_ops.h on a GPU, seen by autograd.
#pragma once

#include "tweedie/nets/image_ops.h"

namespace tweedie {

/// Whether the twins for CUDA can do norms of [x1 | x2]: a build that has them, bf16 on CUDA,
/// channels last, multiples of 32; float32 weights.  x2 may be undefined.
bool fits_cuda_norm(const Tensor& x1, const Tensor& x2, const Tensor& weight);

/// dropout(SiLU(norm([x1 | x2]))) with time, as `norm` says; but x1, x2 and the result are
/// [B, C, H, W], channels last.
Tensor cuda_norm(const BatchNorm& norm);

}  // namespace tweedie
