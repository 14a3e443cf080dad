// What every metric takes: examples as rows of numbers.
#pragma once

#include <string>

#include <ATen/ATen.h>

namespace tweedie {

using at::Tensor;

/// Examples [N, ...] as rows of doubles on the CPU [N, D].  Throws Error naming `what` if there are
/// fewer than `least`, no dimensions, or values that are not finite.
Tensor as_rows(const Tensor& examples, const std::string& what, int64_t least = 2);

/// Throws Error where rows [N, D] and [M, E] differ in dimension.
void check_comparable(const Tensor& a, const Tensor& b, const std::string& metric);

struct TwoSamples {
  Tensor a, b;  // [N, D], [M, D]
};
/// Both as rows.  Throws Error also where their dimensions differ.
TwoSamples as_two_samples(const Tensor& a, const Tensor& b, const std::string& metric);

/// `count` of the rows, evenly spread; all if there are not more.
Tensor spread_rows(const Tensor& rows, int64_t count);

/// A random order of 0..size-1, a function of the seed and `number`: int64 [size].
Tensor random_order(uint64_t seed, int64_t number, int64_t size);

}  // namespace tweedie
