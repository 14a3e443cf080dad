// bfloat16 is the upper half of a float32.
#pragma once

#include <cstdint>

namespace tweedie::kernels {

using bf16 = uint16_t;

inline float float_of(bf16 x) { return __builtin_bit_cast(float, uint32_t{x} << 16); }

/// Rounds to nearest, ties to even; NaN stays NaN.
inline bf16 bf16_of(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<bf16>((bits >> 16) | 0x40);
  return static_cast<bf16>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace tweedie::kernels
