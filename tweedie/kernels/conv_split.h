// How the work of a convolution is cut into parts.  No output is ever shared by two parts.
#pragma once

#include <algorithm>

#include "tweedie/kernels/images.h"

namespace tweedie::kernels {

/// Images and blocks of 32 outputs of one part.
struct ConvPart {
  int64_t image_begin, image_end, block_begin, block_end;
};

/// By images where there are enough of them, else by outputs.
inline ConvPart conv_part(const Convolution& c, int64_t parts, int64_t part) {
  const int64_t blocks = c.outputs / kChannelBlock;
  if (parts <= c.batch) return {c.batch * part / parts, c.batch * (part + 1) / parts, 0, blocks};
  return {0, c.batch, blocks * part / parts, blocks * (part + 1) / parts};
}

/// Images whose packed rows stay in the second cache while the weights pass by once.
inline int64_t images_together(const Convolution& c) {
  constexpr int64_t kCache = 700 << 10;
  return std::max<int64_t>(1, kCache / (2 * packed_values(c)));
}

/// Floats or values of packed weights between two blocks of 16 outputs.
inline int64_t weight_stride(const ConvInput& input, const ConvPlan& plan) {
  return input.weight_blocks * (input.centre ? 1 : plan.weight_taps) * 512;
}

}  // namespace tweedie::kernels
