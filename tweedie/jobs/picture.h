// Samples as a picture.
#pragma once

#include "tweedie/jobs/model_file.h"

namespace tweedie {

/// How many examples make a good picture.
int64_t picture_count(const DataShape& data);

/// uint8 [C, H, W], int32 of images with 16 bits, of examples [B, ...]: images tiled in a
/// near-square grid (`columns` if given), small ones enlarged; 2-D points as a scatter plot; series
/// and long vectors as curves of the first; tables and short vectors by how often each value comes;
/// of anything else the first planes [H, W] of each of the first examples in a row.
Tensor samples_picture(const Tensor& x, const DataShape& data, int64_t columns = 0);

}  // namespace tweedie
