// Some of many, evenly spread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tweedie {

/// `count` of the places 0..size-1, evenly spread and rising from 0; all if there are not more.
inline std::vector<int64_t> spread_places(int64_t count, int64_t size) {
  count = std::min(count, size);
  std::vector<int64_t> places;
  for (int64_t i = 0; i < count; ++i) places.push_back(i * size / count);
  return places;
}

}  // namespace tweedie
