// NumPy's .npy and .npz files.
#pragma once

#include <map>
#include <string>

#include <ATen/ATen.h>

#include "tweedie/tensor/tensor_bytes.h"

namespace tweedie {

/// Format 1.0, C order, little-endian; bool, integers of 8 bits without a sign and of 8 to 64 with
/// one, float16, float32, float64.  Atomic.
void write_npy(const std::string& path, const at::Tensor& tensor);
/// Formats 1.0 to 3.0 of the same types in either byte order; uint16 becomes int32, uint32 and
/// uint64 int64; Fortran's order becomes C's.  A part of the file where that is possible
/// (read_safetensors).  Throws Error on anything else.
at::Tensor read_npy(const std::string& path);
/// The same of bytes; `where` is for messages.
at::Tensor parse_npy(const OwnedBytes& file, const std::string& where);

/// Arrays by name, in an archive; stored as they are, as numpy.savez does.  Atomic.
void write_npz(const std::string& path, const std::map<std::string, at::Tensor>& tensors);
/// Compressed ones too.  Throws Error on what is neither an archive nor of arrays.
std::map<std::string, at::Tensor> read_npz(const std::string& path);
std::map<std::string, at::Tensor> parse_npz(const OwnedBytes& file, const std::string& where);

}  // namespace tweedie
