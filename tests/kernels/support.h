// What the tests of this layer share: arrays of numbers, and how far two of them are apart.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tweedie/kernels/kernels.h"

namespace tweedie::testing {

using Floats = std::vector<float>;

inline Floats normals(int64_t count, unsigned seed, float mean = 0, float std = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(mean, std);
  Floats out(static_cast<size_t>(count));
  for (float& x : out) x = normal(random);
  return out;
}

/// max |a - b| over max(1, max |b|).
template <class A, class B>
double distance(const A& a, const B& b) {
  double most = 0, scale = 1;
  for (size_t i = 0; i < b.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    scale = std::max(scale, std::abs(static_cast<double>(b[i])));
  }
  return a.size() == b.size() ? most / scale : HUGE_VAL;
}

}  // namespace tweedie::testing
