// NumPy's .npy files.
#pragma once

#include <string>

#include <ATen/ATen.h>

namespace tweedie {

/// Format 1.0, C order, little-endian; float32, float64, int64, int32, uint8.  Atomic.
void write_npy(const std::string& path, const at::Tensor& tensor);
/// Formats 1.0 to 3.0 of the same types (Fortran order refused).  Throws Error on anything else.
at::Tensor read_npy(const std::string& path);

}  // namespace tweedie
