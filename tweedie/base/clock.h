// Wall-clock time that only goes forward.
#pragma once

#include <chrono>

namespace tweedie {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

}  // namespace tweedie
