// Whether numbers are numbers.
#pragma once

#include <cmath>

#include <ATen/ATen.h>

namespace tweedie {

/// Whether no element of a floating-point tensor is NaN or infinite.  One pass without a temporary:
/// the least and the greatest element are NaN where any is.
inline bool all_finite(const at::Tensor& x) {
  if (x.numel() == 0) return true;
  const auto [low, high] = at::aminmax(x);
  return std::isfinite(low.item<double>()) && std::isfinite(high.item<double>());
}

}  // namespace tweedie
