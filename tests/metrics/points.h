// Sets of points that a test compares.
#pragma once

#include <vector>

#include "tweedie/metrics/rows.h"
#include "tweedie/tensor/random.h"

namespace tweedie::testing {

/// The number-th set of `count` standard normal points in `dims` dimensions.
inline Tensor normal_points(int64_t count, int64_t dims, int64_t number) {
  return keyed_normal({11, Stream::data}, {number}, 0, {count, dims}).squeeze(0).to(at::kDouble);
}

}  // namespace tweedie::testing
