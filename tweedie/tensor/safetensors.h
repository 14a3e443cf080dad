// Tensors on disk: the safetensors format (huggingface.co/docs/safetensors), safe on hostile files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "tweedie/tensor/tensor_bytes.h"

namespace tweedie {

struct TensorFile {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// What the header says of one tensor.
struct TensorInfo {
  std::string dtype;  // as the format names it: "F32", "BF16", "I64", "U8", ...
  std::vector<int64_t> shape;
};
struct TensorFileHeader {
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
};

/// Throws Error, naming the file and the fault, on anything that is not a well-formed file. Tensors
/// are parts of the mapped file (base/mapped_file.h): nothing is read before it is used, nothing is
/// kept twice.
TensorFile read_safetensors(const std::string& path);
TensorFileHeader read_safetensors_header(const std::string& path);
/// The same of bytes; `where` is for messages.
TensorFile parse_safetensors(const OwnedBytes& bytes, const std::string& where);

/// Atomic.  Equal contents give equal bytes, those that the format's own library writes: types of
/// more bytes first, then in the order of names; the header padded with spaces to a multiple of 8.
void write_safetensors(const std::string& path, const TensorFile& file);

/// As above, with a CRC-32 of every tensor in the metadata; reading throws Error if one does not
/// match or is missing.
void write_checked_safetensors(const std::string& path, const TensorFile& file);
TensorFile read_checked_safetensors(const std::string& path);

}  // namespace tweedie
