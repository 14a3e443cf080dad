// Whether numbers are numbers.
#pragma once

#include <ATen/ATen.h>

namespace tweedie {

/// Whether no element of a floating-point tensor is NaN or infinite.  One pass without a temporary.
bool all_finite(const at::Tensor& x);

}  // namespace tweedie
