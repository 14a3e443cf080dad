// The IDX format of MNIST (yann.lecun.com/exdb/mnist), compressed by gzip or not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tweedie {

struct IdxArray {
  std::vector<int64_t> shape;
  std::vector<uint8_t> values;
};

/// An array of unsigned bytes of `dimensions` dimensions.  Memory grows with what the file really
/// holds, not with what it claims.  Throws Error on a missing, foreign, truncated or damaged file.
IdxArray read_idx(const std::string& path, int64_t dimensions);

}  // namespace tweedie
