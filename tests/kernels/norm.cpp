// Every table's GroupNorm with SiLU against its definition in doubles, whose finite differences are
// the gradients, and against the plain table.
#include <doctest/doctest.h>

#include "tests/kernels/support.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

using Doubles = std::vector<double>;
using kernels::NormShape;

constexpr float kEpsilon = 1e-5F;

/// Odd in every respect: single pixels, single groups, group sizes below and above a register.
const NormShape kShapes[] = {{3, 1, 3},  {4, 7, 2},   {6, 17, 3},
                             {5, 35, 1}, {32, 49, 8}, {2, 333, 2}};

/// Wu & He 2018 (arXiv:1803.08494), eq. 1-2, then x / (1 + e^-x).
Doubles definition(const NormShape& shape, bool silu, const Doubles& x, const Doubles& weight,
                   const Doubles& bias) {
  Doubles y(x.size());
  const int64_t size = shape.channels / shape.groups * shape.pixels;
  for (int64_t g = 0; g < shape.groups; ++g) {
    double mean = 0, variance = 0;
    for (int64_t i = g * size; i < (g + 1) * size; ++i) mean += x[static_cast<size_t>(i)];
    mean /= static_cast<double>(size);
    for (int64_t i = g * size; i < (g + 1) * size; ++i)
      variance += std::pow(x[static_cast<size_t>(i)] - mean, 2);
    variance /= static_cast<double>(size);
    for (int64_t i = g * size; i < (g + 1) * size; ++i) {
      const auto at = static_cast<size_t>(i), c = static_cast<size_t>(i / shape.pixels);
      const double z = (x[at] - mean) / std::sqrt(variance + kEpsilon) * weight[c] + bias[c];
      y[at] = silu ? z / (1 + std::exp(-z)) : z;
    }
  }
  return y;
}

Doubles doubles(const Floats& x) { return {x.begin(), x.end()}; }

/// A single pixel has variance 0 and 1/std = 316, by which its rounding grows before it cancels.
double grown(const NormShape& shape) { return shape.pixels == 1 ? 316 : 1; }

struct Example {
  NormShape shape;
  Floats x, weight, bias, dy;
  explicit Example(const NormShape& s, float mean = 0.5F)
      : shape(s),
        x(normals(s.channels * s.pixels, 1, mean, 2)),
        weight(normals(s.channels, 2, 1, 0.5F)),
        bias(normals(s.channels, 3)),
        dy(normals(s.channels * s.pixels, 4)) {}
};

struct Result {
  Floats y, mean, inverse_std, dx, dweight, dbias;
};

Result run(const kernels::Table& table, const Example& e, bool silu) {
  const auto size = e.x.size(), channels = e.weight.size(),
             groups = static_cast<size_t>(e.shape.groups);
  Result r{Floats(size), Floats(groups),   Floats(groups),
           Floats(size), Floats(channels), Floats(channels)};
  table.norm_forward(e.shape, silu, kEpsilon, e.x.data(), e.weight.data(), e.bias.data(),
                     r.y.data(), r.mean.data(), r.inverse_std.data());
  table.norm_backward(e.shape, silu, e.x.data(), e.weight.data(), e.bias.data(), r.mean.data(),
                      r.inverse_std.data(), e.dy.data(), r.dx.data(), r.dweight.data(),
                      r.dbias.data());
  return r;
}

/// Derivative of sum(dy y) in `inputs`, which is one of x, weight and bias, by central differences.
Doubles differences(const Example& e, bool silu, int which) {
  Doubles in[3] = {doubles(e.x), doubles(e.weight), doubles(e.bias)}, slopes;
  const auto loss = [&] {
    const Doubles y = definition(e.shape, silu, in[0], in[1], in[2]);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(e.dy[i]) * y[i];
    return sum;
  };
  const double h = 1e-5;  // error h^2 and 1e-14 / h: 1e-9 each
  for (double& input : in[which]) {
    const double at = input;
    input = at + h;
    const double up = loss();
    input = at - h;
    slopes.push_back((up - loss()) / (2 * h));
    input = at;
  }
  return slopes;
}

}  // namespace

TEST_CASE("the norm is its definition, in every table") {
  for (const kernels::Table* table : kernels::usable_tables())
    for (const NormShape& shape : kShapes)
      for (const bool silu : {false, true}) {
        INFO(std::string(table->name));
        CAPTURE(shape.channels);
        const Example e(shape);
        const Doubles expected =
            definition(shape, silu, doubles(e.x), doubles(e.weight), doubles(e.bias));
        // Sums of a few hundred floats and an exponential good to 2e-7.
        CHECK(distance(run(*table, e, silu).y, expected) < 5e-7 * grown(shape));
      }
}

TEST_CASE("a mean of a thousand standard deviations costs three digits, not all") {
  for (const kernels::Table* table : kernels::usable_tables()) {
    INFO(std::string(table->name));
    const Example e({4, 61, 2}, 2000);
    const Doubles expected =
        definition(e.shape, true, doubles(e.x), doubles(e.weight), doubles(e.bias));
    CHECK(distance(run(*table, e, true).y, expected) < 5e-4);  // 1000 times the rounding of 1
  }
}

TEST_CASE("SiLU is right and finite from -1000 to 1000") {
  for (const kernels::Table* table : kernels::usable_tables()) {
    INFO(std::string(table->name));
    Example e({1, 41, 1});
    for (size_t i = 0; i < 41; ++i) e.x[i] = static_cast<float>(i) - 20;
    e.weight[0] = 600;
    const Result r = run(*table, e, true);
    const Doubles expected =
        definition(e.shape, true, doubles(e.x), doubles(e.weight), doubles(e.bias));
    CHECK(distance(r.y, expected) < 2e-6);
    for (const float slope : r.dx) CHECK(std::isfinite(slope));
  }
}

TEST_CASE("the norm's gradients are its finite differences, in every table") {
  for (const NormShape& shape : kShapes)
    for (const bool silu : {false, true}) {
      const Example e(shape);
      const Doubles dx = differences(e, silu, 0), dweight = differences(e, silu, 1),
                    dbias = differences(e, silu, 2);
      for (const kernels::Table* table : kernels::usable_tables()) {
        INFO(std::string(table->name));
        CAPTURE(shape.channels);
        const Result r = run(*table, e, silu);
        CHECK(distance(r.dx, dx) < 5e-7 * grown(shape));
        CHECK(distance(r.dweight, dweight) < 2e-6);  // sums of up to 333 floats
        CHECK(distance(r.dbias, dbias) < 2e-6);
      }
    }
}

TEST_CASE("every table's norm does what the plain one does") {
  const kernels::Table& plain = *kernels::usable_tables().front();
  for (const kernels::Table* table : kernels::usable_tables())
    for (const NormShape& shape : kShapes)
      for (const bool silu : {false, true}) {
        INFO(std::string(table->name));
        CAPTURE(shape.channels);
        const Example e(shape);
        const Result r = run(*table, e, silu), expected = run(plain, e, silu);
        // Fused multiply-adds round once where the plain loop rounds twice.
        CHECK(distance(r.y, expected.y) < 5e-7 * grown(shape));
        CHECK(distance(r.mean, expected.mean) < 1e-6);
        CHECK(distance(r.inverse_std, expected.inverse_std) < 1e-6);
        CHECK(distance(r.dx, expected.dx) < 5e-7 * grown(shape));
        CHECK(distance(r.dweight, expected.dweight) < 2e-6);
        CHECK(distance(r.dbias, expected.dbias) < 2e-6);
      }
}
