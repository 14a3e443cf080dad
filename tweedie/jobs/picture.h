// Samples as a picture.
#pragma once

#include "tweedie/jobs/model_file.h"

namespace tweedie {

/// Whether samples_picture takes examples of this shape.
bool fits_picture(const std::vector<int64_t>& shape);

/// uint8 [C, H, W], int32 of data with 16 bits: images tiled in a near-square grid (`columns` if
/// given), small ones enlarged; 2-D points as a scatter plot. Throws Error for data that is
/// neither: write an array instead.
Tensor samples_picture(const Tensor& x, const DataShape& data, int64_t columns = 0);

}  // namespace tweedie
