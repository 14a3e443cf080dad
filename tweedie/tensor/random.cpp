#include "tweedie/tensor/random.h"

#include <ATen/Parallel.h>

#include <bit>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include "tweedie/base/error.h"

// Plain doubles, and of libm only sqrt, which IEEE 754 fixes: the same bits on every CPU.

namespace tweedie {
namespace {

struct Pair {
  double first, second;
};

double uniform_53(uint32_t high, uint32_t low) {
  return static_cast<double>((static_cast<uint64_t>(high) << 21) ^ (low >> 11)) * 0x1p-53;
}

/// log x for x in (0, 1], by 2 atanh((m - 1)/(m + 1)) of the mantissa m; error below 1e-14.
double log_of(double x) {
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
  if (m > std::numbers::sqrt2) {
    m *= 0.5;
    ++exponent;
  }
  const double s = (m - 1) / (m + 1), q = s * s;
  double series = 1.0 / 17;
  for (int k = 15; k >= 1; k -= 2) series = series * q + 1.0 / k;
  return 2 * s * series + exponent * std::numbers::ln2;
}

/// Cosine and sine of 2 pi u turned by an eighth (a constant turn changes no distribution); error
/// below 1e-13.
Pair turn(double u) {
  const double quarter = 4 * u;
  const int q = static_cast<int>(quarter);
  const double angle = (quarter - q - 0.5) * (std::numbers::pi / 2),
               a = angle * angle;  // in [-pi/4, pi/4]
  const double c =
      1 + a * (-1.0 / 2 +
               a * (1.0 / 24 +
                    a * (-1.0 / 720 + a * (1.0 / 40320 + a * (-1.0 / 3628800 + a / 479001600)))));
  const double s =
      angle *
      (1 + a * (-1.0 / 6 +
                a * (1.0 / 120 + a * (-1.0 / 5040 + a * (1.0 / 362880 + a * (-1.0 / 39916800 +
                                                                             a / 6227020800.0))))));
  switch (q) {
    case 0:
      return {c, s};
    case 1:
      return {-s, c};
    case 2:
      return {-c, -s};
    default:
      return {s, -c};
  }
}

/// Box & Muller 1958.
Pair normals(uint32_t a, uint32_t b) {
  const double radius = std::sqrt(-2 * log_of((a + 1.0) * 0x1p-32));
  const Pair direction = turn(b * 0x1p-32);
  return {radius * direction.first, radius * direction.second};
}

/// Calls write(row, first element, 4 random words) for every group of 4 elements of every row.
template <class Write>
void for_each_group(RandomKey key, at::ArrayRef<int64_t> samples, int64_t step, int64_t row_size,
                    const Write& write) {
  check(step >= 0 && step <= UINT32_MAX, "random numbers: step ", step, " is beyond 0..2^32 - 1");
  const int64_t groups = (row_size + 3) / 4;
  at::parallel_for(
      0, static_cast<int64_t>(samples.size()) * groups, 4096, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t row = i / groups, group = i % groups;
          const Bits128 bits = philox(key, static_cast<uint64_t>(samples[static_cast<size_t>(row)]),
                                      static_cast<uint32_t>(step), static_cast<uint32_t>(group));
          write(row, 4 * group, bits);
        }
      });
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
  const uint32_t stream = (static_cast<uint32_t>(key.stream) + 1) * 0x85EBCA6Bu;
  return philox_4x32_10(
      {{block, step, static_cast<uint32_t>(sample), static_cast<uint32_t>(sample >> 32)}},
      static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32) ^ stream);
}

double keyed_uniform(RandomKey key, int64_t sample, int64_t step) {
  const Bits128 bits = philox(key, static_cast<uint64_t>(sample), static_cast<uint32_t>(step), 0);
  return uniform_53(bits.word[0], bits.word[1]);
}

at::Tensor keyed_uniform(RandomKey key, at::ArrayRef<int64_t> samples, int64_t step,
                         at::IntArrayRef shape) {
  at::Tensor out = rows(samples, shape);
  const int64_t size = count_of(shape);
  float* const data = out.data_ptr<float>();
  for_each_group(key, samples, step, size, [&](int64_t row, int64_t first, const Bits128& bits) {
    for (int64_t k = 0; k < std::min<int64_t>(4, size - first); ++k)
      data[row * size + first + k] = static_cast<float>(bits.word[k] >> 8) * 0x1p-24f;
  });
  return out;
}

at::Tensor keyed_normal(RandomKey key, at::ArrayRef<int64_t> samples, int64_t step,
                        at::IntArrayRef shape) {
  at::Tensor out = rows(samples, shape);
  const int64_t size = count_of(shape);
  float* const data = out.data_ptr<float>();
  for_each_group(key, samples, step, size, [&](int64_t row, int64_t first, const Bits128& bits) {
    const Pair a = normals(bits.word[0], bits.word[1]), b = normals(bits.word[2], bits.word[3]);
    const double values[4] = {a.first, a.second, b.first, b.second};
    for (int64_t k = 0; k < std::min<int64_t>(4, size - first); ++k)
      data[row * size + first + k] = static_cast<float>(values[k]);
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
