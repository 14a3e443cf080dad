// Attention by LibTorch's operations.
#pragma once

#include <cmath>

#include <torch/types.h>
#include <torch/version.h>

namespace tweedie {

/// softmax(q k^T / sqrt(width)) v; q, k, v [B, heads, N, width].
inline torch::Tensor attend_by_operations(const torch::Tensor& q, const torch::Tensor& k,
                                          const torch::Tensor& v) {
#if TORCH_VERSION_MAJOR >= 2
  if (q.is_cuda()) return at::scaled_dot_product_attention(q, k, v);
#endif
  const torch::Tensor scores =
      at::matmul(q, k.transpose(2, 3)) * (1 / std::sqrt(static_cast<double>(q.size(3))));
  return at::matmul(scores.softmax(-1), v);
}

}  // namespace tweedie
