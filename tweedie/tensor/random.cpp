#include "tweedie/tensor/random.h"

#include <ATen/Parallel.h>

#include <bit>
#include <functional>
#include <numeric>

#include "tweedie/base/error.h"
#include "tweedie/kernels/kernels.h"

namespace tweedie {
namespace {

double uniform_53(uint32_t high, uint32_t low) {
  return static_cast<double>((static_cast<uint64_t>(high) << 21) ^ (low >> 11)) * 0x1p-53;
}

constexpr int64_t kGroupsOfTask = 4096;  // of 4 numbers each

int64_t groups_of(at::ArrayRef<int64_t> samples, int64_t row_size) {
  return static_cast<int64_t>(samples.size()) * ((row_size + 3) / 4);
}

uint32_t checked_step(int64_t step) {
  check(step >= 0 && step <= UINT32_MAX, "random numbers: step ", step, " is beyond 0..2^32 - 1");
  return static_cast<uint32_t>(step);
}

/// The second word of Philox's key.
uint32_t high_word(RandomKey key) {
  return static_cast<uint32_t>(key.seed >> 32) ^
         ((static_cast<uint32_t>(key.stream) + 1) * 0x85EBCA6Bu);
}

at::Tensor rows(at::ArrayRef<int64_t> samples, at::IntArrayRef shape) {
  std::vector<int64_t> sizes{static_cast<int64_t>(samples.size())};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  return at::empty(sizes, at::kFloat);
}

int64_t count_of(at::IntArrayRef shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

Bits128 philox_4x32_10(Bits128 counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter.word[0],
                   b = uint64_t{0xCD9E8D57} * counter.word[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(a)}};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return counter;
}

Bits128 philox(RandomKey key, uint64_t sample, uint32_t step, uint32_t block) {
  return philox_4x32_10(
      {{block, step, static_cast<uint32_t>(sample), static_cast<uint32_t>(sample >> 32)}},
      static_cast<uint32_t>(key.seed), high_word(key));
}

double keyed_uniform(RandomKey key, int64_t sample, int64_t step) {
  const Bits128 bits = philox(key, static_cast<uint64_t>(sample), static_cast<uint32_t>(step), 0);
  return uniform_53(bits.word[0], bits.word[1]);
}

at::Tensor keyed_uniform(RandomKey key, at::ArrayRef<int64_t> samples, int64_t step,
                         at::IntArrayRef shape) {
  at::Tensor out = rows(samples, shape);
  const int64_t size = count_of(shape), groups = (size + 3) / 4;
  const uint32_t counter = checked_step(step);
  float* const data = out.data_ptr<float>();
  at::parallel_for(0, groups_of(samples, size), kGroupsOfTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / groups, group = i % groups, first = 4 * group;
      const Bits128 bits = philox(key, static_cast<uint64_t>(samples[static_cast<size_t>(row)]),
                                  counter, static_cast<uint32_t>(group));
      for (int64_t k = 0; k < std::min<int64_t>(4, size - first); ++k)
        data[row * size + first + k] = static_cast<float>(bits.word[k] >> 8) * 0x1p-24f;
    }
  });
  return out;
}

at::Tensor keyed_normal(RandomKey key, at::ArrayRef<int64_t> samples, int64_t step,
                        at::IntArrayRef shape) {
  at::Tensor out = rows(samples, shape);
  const int64_t size = count_of(shape);
  const kernels::NormalsKey words{{static_cast<uint32_t>(key.seed), high_word(key)},
                                  checked_step(step)};
  float* const data = out.data_ptr<float>();
  at::parallel_for(0, groups_of(samples, size), kGroupsOfTask, [&](int64_t begin, int64_t end) {
    kernels::table().normals(words, samples.data(), size, begin, end, data);
  });
  return out;
}

int64_t permuted_index(RandomKey key, int64_t epoch, int64_t index, int64_t size) {
  check(0 <= index && index < size, "permuted_index: ", index, " is not in 0..", size - 1);
  const int half = (std::bit_width(static_cast<uint64_t>(size - 1)) + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  uint64_t at = static_cast<uint64_t>(index);
  do {  // the network permutes a power of four at least as large; walk on until inside
    uint64_t left = at >> half, right = at & mask;
    for (uint32_t round = 0; round < 4; ++round) {
      const uint64_t mixed = philox(key, right, static_cast<uint32_t>(epoch), round).word[0] & mask;
      const uint64_t next = left ^ mixed;
      left = right;
      right = next;
    }
    at = left << half | right;
  } while (at >= static_cast<uint64_t>(size));
  return static_cast<int64_t>(at);
}

}  // namespace tweedie
