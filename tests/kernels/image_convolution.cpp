// Every table's convolutions of images against sums written out in doubles, on sizes that fill no
// tile.
#include <doctest/doctest.h>

#include <functional>

#include "tests/kernels/image_support.h"

using namespace tweedie;
using namespace tweedie::testing;
using kernels::ConvKind;

namespace {

/// A table's weights are rounded to bf16 when they are packed: so that they may be compared with.
Floats rounded(Floats x) {
  for (float& v : x) v = kernels::float_of(kernels::bf16_of(v));
  return x;
}

struct ConvShape {
  ConvKind kind;
  int64_t height, width;
};

const ConvShape kConvShapes[] = {
    {ConvKind::pointwise, 5, 7},    {ConvKind::same, 4, 4},    {ConvKind::same, 7, 7},
    {ConvKind::same, 5, 16},        {ConvKind::same, 3, 28},   {ConvKind::same, 1, 1},
    {ConvKind::halved, 8, 8},       {ConvKind::halved, 7, 5},  {ConvKind::halved_after, 8, 6},
    {ConvKind::halved_after, 7, 9}, {ConvKind::doubled, 4, 4}, {ConvKind::doubled, 3, 7},
    {ConvKind::doubled, 1, 2},      {ConvKind::same, 2, 32},   {ConvKind::halved, 32, 32},
};

/// Visits every product: output pixel, input pixel, tap of the 3x3 or 1x1 kernel.
void each_product(const ConvShape& s, const kernels::ConvPlans& p,
                  const std::function<void(int64_t, int64_t, int64_t)>& visit) {
  const int64_t size = s.kind == ConvKind::pointwise ? 1 : 3;
  const int64_t step = s.kind == ConvKind::halved || s.kind == ConvKind::halved_after ? 2 : 1;
  const int64_t before = s.kind == ConvKind::pointwise || s.kind == ConvKind::halved_after ? 0 : 1;
  const int64_t zoom = s.kind == ConvKind::doubled ? 2 : 1;
  for (int64_t y = 0; y < p.out_height; ++y)
    for (int64_t x = 0; x < p.out_width; ++x)
      for (int64_t r = 0; r < size; ++r)
        for (int64_t c = 0; c < size; ++c) {
          const int64_t from_y = y * step + r - before, from_x = x * step + c - before;
          if (from_y < 0 || from_x < 0 || from_y >= s.height * zoom || from_x >= s.width * zoom)
            continue;
          visit(y * p.out_width + x, from_y / zoom * s.width + from_x / zoom, r * size + c);
        }
}

int64_t taps_of(ConvKind kind) { return kind == ConvKind::pointwise ? 1 : 9; }
constexpr int64_t kBatch = 3, kIn = 64, kOut = 96;

/// The weight as the kernels of `doubled` want it, else as it is.
Floats kernel_weight(ConvKind kind, const Floats& weight) {
  if (kind != ConvKind::doubled) return weight;
  Floats folded(static_cast<size_t>(kOut * 16 * kIn));
  kernels::fold_doubled(kOut, kIn, weight.data(), folded.data());
  return folded;
}

/// With more parts than images, of inputs that are packed once.
void convolve(const kernels::ImageTable& table, kernels::Convolution c, int64_t parts) {
  std::vector<bf16> rows;
  if (table.pack_inputs && parts > c.batch) {
    rows.resize(static_cast<size_t>(c.batch * kernels::packed_values(c)) + 32);
    c.packed = rows.data() + (64 - reinterpret_cast<uintptr_t>(rows.data()) % 64) % 64 / 2;
    for (int64_t part = 0; part < c.batch * kernels::packed_blocks(c); ++part)
      table.pack_inputs(c, part);
  }
  for (int64_t part = 0; part < parts; ++part) table.convolution(c, parts, part);
}

/// Every element of `b` once; `bits` of `a`.
bool same_bits(const Halves& a, const Halves& b) { return a == b; }

}  // namespace

TEST_CASE("a convolution adds up its products, bias and residual, in every table and any parts") {
  for (const kernels::Table* t : kernels::usable_tables())
    for (const ConvShape& shape : kConvShapes) {
      INFO(std::string(t->name));
      CAPTURE(static_cast<int>(shape.kind));
      CAPTURE(shape.height);
      CAPTURE(shape.width);
      const auto& table = *t->images;
      const kernels::ConvPlans plans = kernels::make_plans(shape.kind, shape.height, shape.width);
      const int64_t taps = taps_of(shape.kind), pixels = plans.forward.in_pixels,
                    out_pixels = plans.forward.out_pixels;
      const Halves x = halves(kBatch * pixels * kIn, 1),
                   residual = halves(kBatch * out_pixels * kOut, 2);
      const Floats weight = rounded(normals(kOut * taps * kIn, 3, 0, 0.1F)),
                   bias = normals(kOut, 4);
      std::vector<double> expected(static_cast<size_t>(kBatch * out_pixels * kOut));
      for (int64_t n = 0; n < kBatch; ++n) {
        for (int64_t i = 0; i < out_pixels * kOut; ++i) {
          const auto at = static_cast<size_t>(n * out_pixels * kOut + i);
          expected[at] = bias[static_cast<size_t>(i % kOut)] + kernels::float_of(residual[at]);
        }
        each_product(shape, plans, [&](int64_t to, int64_t from, int64_t tap) {
          for (int64_t k = 0; k < kOut; ++k)
            for (int64_t c = 0; c < kIn; ++c)
              expected[static_cast<size_t>((n * out_pixels + to) * kOut + k)] +=
                  static_cast<double>(
                      kernels::float_of(x[static_cast<size_t>((n * pixels + from) * kIn + c)])) *
                  weight[static_cast<size_t>((k * taps + tap) * kIn + c)];
        });
      }
      const Floats kernel = kernel_weight(shape.kind, weight);
      Halves packed(kernel.size()), y(expected.size()), again(expected.size());
      table.pack_weight(kernel.data(), kOut, plans.forward.weight_taps, kIn, packed.data(), 0,
                        kOut / 16);
      kernels::Convolution c{&plans.forward, kBatch, kOut, {}, 1};
      c.inputs[0] = {x.data(), kIn, packed.data(), kIn / 32};
      c.bias[0] = bias.data();
      c.residual = residual.data();
      c.y = y.data();
      convolve(table, c, 1);
      // Sums of weights are rounded once more where the size is doubled.
      CHECK(worst(floats(y), expected) < (shape.kind == ConvKind::doubled ? 2 : 1) * kHalf);
      c.y = again.data();
      for (const int64_t parts : {2, 3, 5}) {
        std::fill(again.begin(), again.end(), bf16{0});
        convolve(table, c, parts);
        CHECK(same_bits(again, y));
      }
    }
}

TEST_CASE("1x1 kernels on other images are added to a 3x3 one") {
  for (const kernels::Table* t : kernels::usable_tables())
    for (const int64_t width : {4, 16, 28}) {
      INFO(std::string(t->name));
      CAPTURE(width);
      const auto& table = *t->images;
      const int64_t height = 3, pixels = height * width;
      const kernels::ConvPlans three = kernels::make_plans(ConvKind::same, height, width),
                               one = kernels::make_plans(ConvKind::pointwise, height, width);
      const Halves x = halves(kBatch * pixels * kIn, 1), first = halves(kBatch * pixels * 32, 2),
                   second = halves(kBatch * pixels * 64, 3);
      const Floats weight = normals(kOut * 9 * kIn, 4, 0, 0.1F),
                   weight1 = normals(kOut * 96, 5, 0, 0.1F);
      Halves packed(weight.size()), packed1(weight1.size());
      table.pack_weight(weight.data(), kOut, 9, kIn, packed.data(), 0, kOut / 16);
      table.pack_weight(weight1.data(), kOut, 1, 96, packed1.data(), 0, kOut / 16);
      const auto size = static_cast<size_t>(kBatch * pixels * kOut);
      Halves y(size), a(size), b(size);
      kernels::Convolution c{&three.forward, kBatch, kOut, {}, 3};
      c.inputs[0] = {x.data(), kIn, packed.data(), kIn / 32};
      c.inputs[1] = {first.data(), 32, packed1.data(), 3, true};
      c.inputs[2] = {second.data(), 64, packed1.data() + 512, 3, true};
      c.y = y.data();
      convolve(table, c, 2);
      c.input_count = 1;
      c.y = a.data();
      convolve(table, c, 1);
      kernels::Convolution d{&one.forward, kBatch, kOut, {}, 2};
      d.inputs[0] = {first.data(), 32, packed1.data(), 3};
      d.inputs[1] = {second.data(), 64, packed1.data() + 512, 3, true};
      d.y = b.data();
      convolve(table, d, 1);
      Floats sum = floats(a);
      for (size_t i = 0; i < size; ++i) sum[i] += kernels::float_of(b[i]);
      CHECK(worst(floats(y), sum) < 3 * kHalf);  // the parts were rounded each
    }
}

TEST_CASE("the gradient of a convolution's input is its transpose") {
  for (const kernels::Table* t : kernels::usable_tables())
    for (const ConvShape& shape : kConvShapes) {
      INFO(std::string(t->name));
      CAPTURE(static_cast<int>(shape.kind));
      CAPTURE(shape.height);
      CAPTURE(shape.width);
      const auto& table = *t->images;
      const kernels::ConvPlans plans = kernels::make_plans(shape.kind, shape.height, shape.width);
      const int64_t taps = taps_of(shape.kind), pixels = plans.forward.in_pixels,
                    out_pixels = plans.forward.out_pixels;
      const Halves dy = halves(kBatch * out_pixels * kOut, 1);
      const Floats weight = rounded(normals(kOut * taps * kIn, 3, 0, 0.1F));
      std::vector<double> expected(static_cast<size_t>(kBatch * pixels * kIn));
      for (int64_t n = 0; n < kBatch; ++n)
        each_product(shape, plans, [&](int64_t to, int64_t from, int64_t tap) {
          for (int64_t k = 0; k < kOut; ++k)
            for (int64_t c = 0; c < kIn; ++c)
              expected[static_cast<size_t>((n * pixels + from) * kIn + c)] +=
                  static_cast<double>(kernels::float_of(
                      dy[static_cast<size_t>((n * out_pixels + to) * kOut + k)])) *
                  weight[static_cast<size_t>((k * taps + tap) * kIn + c)];
        });
      const Floats kernel = kernel_weight(shape.kind, weight);
      Halves packed(kernel.size()), dx(expected.size());
      table.pack_weight_backward(kernel.data(), kOut, plans.backward.weight_taps, kIn,
                                 packed.data(), 0, kIn / 16);
      kernels::Convolution c{&plans.backward, kBatch, kIn, {}, 1};
      c.inputs[0] = {dy.data(), kOut, packed.data(), kOut / 32};
      c.y = dx.data();
      convolve(table, c, 2);
      CHECK(worst(floats(dx), expected) < (shape.kind == ConvKind::doubled ? 2 : 1) * kHalf);
    }
}

TEST_CASE("the gradient of a convolution's weights, in every table and any parts") {
  for (const kernels::Table* t : kernels::usable_tables())
    for (const ConvShape& shape : kConvShapes) {
      INFO(std::string(t->name));
      CAPTURE(static_cast<int>(shape.kind));
      CAPTURE(shape.height);
      CAPTURE(shape.width);
      const auto& table = *t->images;
      const kernels::ConvPlans plans = kernels::make_plans(shape.kind, shape.height, shape.width);
      const int64_t taps = taps_of(shape.kind), pixels = plans.forward.in_pixels,
                    out_pixels = plans.forward.out_pixels;
      const Halves x = halves(kBatch * pixels * kIn, 1), dy = halves(kBatch * out_pixels * kOut, 2);
      std::vector<double> expected(static_cast<size_t>(kOut * taps * kIn)),
          bias(static_cast<size_t>(kOut));
      for (int64_t n = 0; n < kBatch; ++n) {
        for (int64_t i = 0; i < out_pixels * kOut; ++i)
          bias[static_cast<size_t>(i % kOut)] +=
              kernels::float_of(dy[static_cast<size_t>(n * out_pixels * kOut + i)]);
        each_product(shape, plans, [&](int64_t to, int64_t from, int64_t tap) {
          for (int64_t k = 0; k < kOut; ++k)
            for (int64_t c = 0; c < kIn; ++c)
              expected[static_cast<size_t>((k * taps + tap) * kIn + c)] +=
                  static_cast<double>(kernels::float_of(
                      dy[static_cast<size_t>((n * out_pixels + to) * kOut + k)])) *
                  kernels::float_of(x[static_cast<size_t>((n * pixels + from) * kIn + c)]);
        });
      }
      const auto gradient = [&](int64_t parts, Floats& dbias) {
        Floats dweight(static_cast<size_t>(kOut * plans.gradient.weight_taps * kIn), 7);
        dbias.assign(static_cast<size_t>(kOut), 7);
        const kernels::WeightGradient g{
            &plans.gradient, kBatch,         kOut,         kIn, x.data(),
            dy.data(),       dweight.data(), dbias.data(), kIn};
        for (int64_t part = 0; part < parts; ++part) table.weight_gradient(g, parts, part);
        if (shape.kind != ConvKind::doubled) return dweight;
        Floats unfolded(expected.size());
        kernels::unfold_doubled(kOut, kIn, dweight.data(), unfolded.data());
        return unfolded;
      };
      Floats dbias, other;
      const Floats dweight = gradient(1, dbias);
      CHECK(worst(dweight, expected) < 1e-5);  // sums of float32
      CHECK(worst(dbias, bias) < 1e-5);
      CHECK(gradient(2, other) == dweight);
      CHECK(other == dbias);
    }
}
