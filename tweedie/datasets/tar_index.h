// Where images lie in a tar file (POSIX.1-1988 and 2001, with GNU's long names).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tweedie {

struct TarEntry {
  uint64_t offset;
  uint32_t size;
  int32_t shard;
  int32_t label;  // -1: none
};

/// Appends the images of a file in its order, each with the class of the KEY.cls beside it.  Throws
/// Error on a damaged or truncated file.
void add_tar_images(const std::string& path, int32_t shard, std::vector<TarEntry>& images);

}  // namespace tweedie
