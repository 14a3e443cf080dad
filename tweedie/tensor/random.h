// Random numbers without state: a value is a function of (seed, purpose, sample, step), whatever
// the batch or the threads.
#pragma once

#include <cstdint>

#include <ATen/ATen.h>

namespace tweedie {

/// What the numbers are for: independent streams of one seed.
enum class Stream : uint32_t {
  weights,
  order,
  flip,
  levels,
  noise,
  dropout,
  prior,
  sampling,
  dequantise,
  evaluation,
  data,
  classes,
  probes,
  paths
};

struct RandomKey {
  uint64_t seed;
  Stream stream;
};

/// Philox 4x32-10 (Salmon et al. 2011): 128 random bits of a counter.
struct Bits128 {
  uint32_t word[4];
};
/// The bare function of the paper.
Bits128 philox_4x32_10(Bits128 counter, uint32_t key0, uint32_t key1);
Bits128 philox(RandomKey key, uint64_t sample, uint32_t step, uint32_t block);

/// One number in [0, 1), 53 bits.
double keyed_uniform(RandomKey key, int64_t sample, int64_t step);

/// float32 [samples.size(), shape...]: row i depends on samples[i] and step alone.  Uniform in [0,
/// 1) with 24 bits; normal by Box-Muller.  Same bits on any CPU and any number of threads.
at::Tensor keyed_uniform(RandomKey key, at::ArrayRef<int64_t> samples, int64_t step,
                         at::IntArrayRef shape);
at::Tensor keyed_normal(RandomKey key, at::ArrayRef<int64_t> samples, int64_t step,
                        at::IntArrayRef shape);

/// The `index`-th element of a random permutation of 0..size-1, without storing it (cycle-walking
/// Feistel network).
int64_t permuted_index(RandomKey key, int64_t epoch, int64_t index, int64_t size);

}  // namespace tweedie
