#include "tweedie/tensor/random.h"

#include <ATen/Parallel.h>
#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <vector>

#include "tweedie/base/error.h"

using namespace tweedie;

namespace {

constexpr RandomKey kKey{2024, Stream::noise};

void expect_bits(Bits128 counter, uint32_t key0, uint32_t key1, Bits128 expected) {
  const Bits128 bits = philox_4x32_10(counter, key0, key1);
  for (int i = 0; i < 4; ++i) CHECK(bits.word[i] == expected.word[i]);
}

std::vector<int64_t> first_samples(int64_t count) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < count; ++i) samples.push_back(i);
  return samples;
}

}  // namespace

TEST_CASE("Philox gives the known answers of Random123") {
  constexpr uint32_t ones = 0xffffffffu;
  expect_bits({{0, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  expect_bits({{ones, ones, ones, ones}}, ones, ones,
              {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  expect_bits({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0,
              {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST_CASE("normals are Box-Muller of the bits, to the last bit of float32") {
  const std::vector<int64_t> samples = first_samples(50);
  const at::Tensor drawn = keyed_normal(kKey, samples, 7, {9});
  constexpr double pi = 3.14159265358979323846;
  for (size_t i = 0; i < samples.size(); ++i)
    for (uint32_t k = 0; k < 9; k += 2) {
      const Bits128 bits = philox(kKey, i, 7, k / 4);
      const double a = bits.word[k % 4], b = bits.word[k % 4 + 1];
      const double radius = std::sqrt(-2 * std::log((a + 1) / 4294967296.0));
      const double angle = 2 * pi * (b / 4294967296.0) - pi / 4;
      // The one turn that the library's sine and cosine leave out is an eighth; half a unit in the
      // last place of float32 is 6e-8 of the value, and the largest value is 6.7.
      const double got =
          drawn.index({static_cast<int64_t>(i), static_cast<int64_t>(k)}).item<float>();
      CHECK(std::abs(got - radius * std::cos(angle)) <= 4e-7);
      if (k + 1 < 9) {
        const double next =
            drawn.index({static_cast<int64_t>(i), static_cast<int64_t>(k) + 1}).item<float>();
        CHECK(std::abs(next - radius * std::sin(angle)) <= 4e-7);
      }
    }
}

TEST_CASE("normals have the moments of a normal, uniforms those of a uniform") {
  const std::vector<int64_t> samples = first_samples(200);
  const at::Tensor z = keyed_normal(kKey, samples, 0, {1000}).to(at::kDouble);
  // 200,000 draws: five standard errors of each moment.
  const double root = std::sqrt(200000.0);
  CHECK(std::abs(z.mean().item<double>()) <= 5 / root);
  CHECK(std::abs(z.square().mean().item<double>() - 1) <= 5 * std::sqrt(2.0) / root);
  CHECK(std::abs(z.pow(3).mean().item<double>()) <= 5 * std::sqrt(15.0) / root);
  CHECK(std::abs(z.pow(4).mean().item<double>() - 3) <= 5 * std::sqrt(96.0) / root);
  const at::Tensor neighbours = z.narrow(1, 0, 999) * z.narrow(1, 1, 999);
  CHECK(std::abs(neighbours.mean().item<double>()) <= 5 / root);
  const at::Tensor u = keyed_uniform(kKey, samples, 0, {1000}).to(at::kDouble);
  CHECK(u.min().item<double>() >= 0);
  CHECK(u.max().item<double>() < 1);
  CHECK(std::abs(u.mean().item<double>() - 0.5) <= 5 / std::sqrt(12.0) / root);
  CHECK(std::abs(u.var().item<double>() - 1 / 12.0) <= 5 / std::sqrt(180.0) / root);
}

TEST_CASE("a row of random numbers depends on its sample, stream, step and seed alone") {
  const at::Tensor batch = keyed_normal(kKey, {5, 9, 3}, 2, {2, 7});
  CHECK(at::equal(batch[1], keyed_normal(kKey, {9}, 2, {2, 7})[0]));
  CHECK_FALSE(at::equal(batch[0], batch[1]));
  CHECK_FALSE(at::equal(batch, keyed_normal(kKey, {5, 9, 3}, 3, {2, 7})));
  CHECK_FALSE(at::equal(batch, keyed_normal({2024, Stream::prior}, {5, 9, 3}, 2, {2, 7})));
  CHECK_FALSE(at::equal(batch, keyed_normal({2025, Stream::noise}, {5, 9, 3}, 2, {2, 7})));
  CHECK_FALSE(at::equal(
      batch, keyed_normal({2024 + (uint64_t{1} << 32), Stream::noise}, {5, 9, 3}, 2, {2, 7})));
  CHECK(keyed_uniform(kKey, 4, 1) == keyed_uniform(kKey, 4, 1));
  CHECK(keyed_uniform(kKey, 4, 1) != keyed_uniform(kKey, 4, 2));
}

TEST_CASE("random numbers do not depend on the number of threads") {
  const std::vector<int64_t> samples = first_samples(64);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor alone = keyed_normal(kKey, samples, 0, {1023});
  at::set_num_threads(4);
  CHECK(at::equal(alone, keyed_normal(kKey, samples, 0, {1023})));
  at::set_num_threads(before);
}

TEST_CASE("no samples and no elements give an empty tensor") {
  CHECK(keyed_normal(kKey, {}, 0, {3}).sizes() == at::IntArrayRef({0, 3}));
  CHECK(keyed_normal(kKey, {1, 2}, 0, {0}).numel() == 0);
}

TEST_CASE("a step that does not fit the counter is refused") {
  CHECK_THROWS_AS(keyed_normal(kKey, {1}, -1, {3}), Error);
  CHECK_THROWS_AS(keyed_normal(kKey, {1}, int64_t{1} << 32, {3}), Error);
}

TEST_CASE("permuted_index is a permutation of any size, another one in another epoch") {
  for (const int64_t size : {1, 2, 3, 17, 1000, 4096}) {
    std::set<int64_t> seen;
    int64_t moved = 0, same = 0;
    for (int64_t i = 0; i < size; ++i) {
      const int64_t at = permuted_index(kKey, 0, i, size);
      CHECK((at >= 0 && at < size));
      seen.insert(at);
      moved += at != i;
      same += at == permuted_index(kKey, 1, i, size);
    }
    CHECK(static_cast<int64_t>(seen.size()) == size);
    if (size >= 1000) {
      CHECK(moved >= size - 10);  // a random permutation has one fixed point on average
      CHECK(same <= 10);
    }
  }
  CHECK_THROWS_AS(permuted_index(kKey, 0, 5, 5), Error);
}
