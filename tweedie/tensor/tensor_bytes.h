// Tensors that are a part of a file in memory.
#pragma once

#include <cstring>
#include <memory>
#include <string_view>

#include <ATen/ATen.h>

namespace tweedie {

/// Bytes, and what keeps them there; without an owner they are copied.
struct OwnedBytes {
  std::string_view bytes;
  std::shared_ptr<const void> owner;
};

/// A contiguous tensor of these bytes, as many as its sizes need: the bytes themselves where they
/// have an owner and lie as the type must, else a copy.
inline at::Tensor tensor_of(const OwnedBytes& source, std::string_view bytes, at::IntArrayRef sizes,
                            at::ScalarType type) {
  const size_t alignment = c10::elementSize(type);
  const bool aligned = reinterpret_cast<uintptr_t>(bytes.data()) % alignment == 0;
  if (source.owner && aligned && !bytes.empty())
    return at::from_blob(
        const_cast<char*>(bytes.data()), sizes, [owner = source.owner](void*) {},
        at::TensorOptions(type));
  at::Tensor out = at::empty(sizes, at::TensorOptions(type));
  if (!bytes.empty()) std::memcpy(out.data_ptr(), bytes.data(), bytes.size());
  return out;
}

}  // namespace tweedie
