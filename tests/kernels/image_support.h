// What the tests of kernels on images share: arrays in bf16, and how far two of them are apart.
#pragma once

#include <cstdlib>

#include "tests/kernels/support.h"
#include "tweedie/kernels/images.h"

namespace tweedie::testing {

using kernels::bf16;

/// Packed weights begin on a cache line.
template <class T>
struct OnCacheLines {
  using value_type = T;
  OnCacheLines() = default;
  template <class U>
  OnCacheLines(const OnCacheLines<U>&) {}
  T* allocate(size_t count) {
    return static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64));
  }
  void deallocate(T* p, size_t) { std::free(p); }
  bool operator==(const OnCacheLines&) const { return true; }
};

using Halves = std::vector<bf16, OnCacheLines<bf16>>;

inline Halves halves(int64_t count, unsigned seed, float std = 1) {
  Halves out;
  for (const float x : normals(count, seed, 0, std)) out.push_back(kernels::bf16_of(x));
  return out;
}

inline Floats floats(const Halves& x) {
  Floats out;
  for (const bf16 v : x) out.push_back(kernels::float_of(v));
  return out;
}

/// Relative to the largest of b: errors of bf16 are relative to what is summed up.
template <class A, class B>
double worst(const A& a, const B& b) {
  double most = 0, scale = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    scale = std::max(scale, std::abs(static_cast<double>(b[i])));
  }
  return most / scale;
}

constexpr double kHalf = 1.0 / 256;  // half a unit in the last place of bf16

}  // namespace tweedie::testing
