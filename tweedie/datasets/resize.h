// Images of any size made squares of one size.
#pragma once

#include <ATen/ATen.h>

namespace tweedie {

/// The largest central square of pixels int32 [C, H, W], resized to int32 [C, size, size]: each new
/// pixel is the rounded mean of the area it covers.
at::Tensor centre_square(const at::Tensor& pixels, int64_t size);

}  // namespace tweedie
