// Every table's kernels on images against sums written out in doubles, on sizes that fill no tile.
#include <doctest/doctest.h>

#include <cstdlib>
#include <functional>

#include "tests/kernels/support.h"
#include "tweedie/kernels/images.h"

using namespace tweedie;
using namespace tweedie::testing;
using kernels::bf16;
using kernels::ConvKind;

namespace {

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

Halves halves(int64_t count, unsigned seed, float std = 1) {
  Halves out;
  for (const float x : normals(count, seed, 0, std)) out.push_back(kernels::bf16_of(x));
  return out;
}

Floats floats(const Halves& x) {
  Floats out;
  for (const bf16 v : x) out.push_back(kernels::float_of(v));
  return out;
}

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
constexpr int64_t kBatch = 3, kIn = 64, kOut = 96;

/// The weight as the kernels of `doubled` want it, else as it is.
Floats kernel_weight(ConvKind kind, const Floats& weight) {
  if (kind != ConvKind::doubled) return weight;
  Floats folded(static_cast<size_t>(kOut * 16 * kIn));
  kernels::fold_doubled(kOut, kIn, weight.data(), folded.data());
  return folded;
}

void convolve(const kernels::ImageTable& table, const kernels::Convolution& c, int64_t parts) {
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

namespace {

struct ImageNormCase {
  int64_t first, second, groups, pixels;
  bool silu, add, scale;
  float rate;
};

const ImageNormCase kNorms[] = {
    {64, 0, 32, 9, true, false, false, 0}, {32, 0, 32, 1, false, false, false, 0},
    {64, 32, 32, 7, true, true, false, 0}, {128, 64, 8, 5, true, false, true, 0},
    {96, 0, 2, 4, false, true, false, 0},  {64, 0, 32, 9, true, true, false, 0.3F},
};

struct NormData {
  Halves x1, x2, dy;
  Floats weight, bias, add, scale, shift;
  kernels::ImageNorm norm;
  explicit NormData(const ImageNormCase& c)
      : x1(halves(c.pixels * c.first, 1, 2)),
        x2(halves(c.pixels * c.second, 2)),
        dy(halves(c.pixels * (c.first + c.second), 3)),
        weight(normals(c.first + c.second, 4, 1, 0.3F)),
        bias(normals(c.first + c.second, 5)),
        add(normals(c.first + c.second, 6)),
        scale(normals(c.first + c.second, 7, 0, 0.3F)),
        shift(normals(c.first + c.second, 8)) {
    norm.x[0] = x1.data();
    norm.x[1] = c.second ? x2.data() : nullptr;
    norm.channels[0] = c.first;
    norm.channels[1] = c.second;
    norm.pixels = c.pixels;
    norm.groups = c.groups;
    norm.epsilon = 1e-5F;
    norm.weight = weight.data();
    norm.bias = bias.data();
    if (c.add) norm.add = add.data();
    if (c.scale) norm.scale = scale.data(), norm.shift = shift.data();
    norm.silu = c.silu;
    norm.dropout = {kernels::dropout_key(1, 2, 3, 4), c.rate};
  }
  NormData(const NormData&) = delete;
  NormData& operator=(const NormData&) = delete;
};

/// The same in doubles; the mask of dropout is given.
std::vector<double> norm_in_doubles(const ImageNormCase& c, const std::vector<double>& x,
                                    const NormData& d, const Floats& mask) {
  const auto channels = static_cast<size_t>(c.first + c.second),
             width = channels / static_cast<size_t>(c.groups);
  const auto pixels = static_cast<size_t>(c.pixels);
  std::vector<double> y(x.size());
  for (size_t g = 0; g < static_cast<size_t>(c.groups); ++g) {
    double sum = 0, square = 0;
    const auto value = [&](size_t i, size_t ch) {
      return x[i * channels + ch] + (c.add ? static_cast<double>(d.add[ch]) : 0);
    };
    for (size_t i = 0; i < pixels; ++i)
      for (size_t ch = g * width; ch < (g + 1) * width; ++ch) sum += value(i, ch);
    const double mean = sum / static_cast<double>(pixels * width);
    for (size_t i = 0; i < pixels; ++i)
      for (size_t ch = g * width; ch < (g + 1) * width; ++ch)
        square += (value(i, ch) - mean) * (value(i, ch) - mean);
    const double r = 1 / std::sqrt(square / static_cast<double>(pixels * width) + 1e-5);
    for (size_t i = 0; i < pixels; ++i)
      for (size_t ch = g * width; ch < (g + 1) * width; ++ch) {
        double z = (value(i, ch) - mean) * r * d.weight[ch] + d.bias[ch];
        if (c.scale) z = z * (1 + static_cast<double>(d.scale[ch])) + d.shift[ch];
        if (c.silu) z = z / (1 + std::exp(-z));
        y[i * channels + ch] = z * mask[i * channels + ch];
      }
  }
  return y;
}

std::vector<double> joined(const ImageNormCase& c, const NormData& d) {
  std::vector<double> x;
  for (int64_t i = 0; i < c.pixels; ++i) {
    for (int64_t k = 0; k < c.first; ++k)
      x.push_back(kernels::float_of(d.x1[static_cast<size_t>(i * c.first + k)]));
    for (int64_t k = 0; k < c.second; ++k)
      x.push_back(kernels::float_of(d.x2[static_cast<size_t>(i * c.second + k)]));
  }
  return x;
}

struct Coefficients {
  explicit Coefficients(int64_t channels)
      : values(static_cast<size_t>(4 * channels)),
        view{values.data(), values.data() + channels, values.data() + 2 * channels,
             values.data() + 3 * channels} {}
  Floats values;
  kernels::NormCoefficients view;
};

Floats mask_of(const ImageNormCase& c, const NormData& d) {
  Floats mask(static_cast<size_t>(c.pixels * (c.first + c.second)), 1.0F);
  if (c.rate > 0)
    kernels::dropout_mask(d.norm.dropout, static_cast<int64_t>(mask.size()), mask.data());
  return mask;
}

}  // namespace

TEST_CASE("a norm of images with time, SiLU and dropout, in every table") {
  for (const kernels::Table* t : kernels::usable_tables())
    for (const ImageNormCase& c : kNorms) {
      INFO(std::string(t->name));
      CAPTURE(c.first);
      CAPTURE(c.pixels);
      const int64_t channels = c.first + c.second;
      const NormData d(c);
      const Floats mask = mask_of(c, d);
      if (c.rate > 0) {
        double kept = 0;
        for (const float m : mask) kept += m > 0 ? 1 : 0;
        const double share = kept / static_cast<double>(mask.size());
        CHECK(std::abs(share - (1 - c.rate)) <
              4 * std::sqrt(0.21 / static_cast<double>(mask.size())));
      }
      Coefficients with(channels);
      Halves y(static_cast<size_t>(c.pixels * channels));
      const int64_t block = kernels::norm_block(channels, c.groups);
      for (int64_t begin = 0; begin < channels; begin += block) {
        t->images->norm_statistics(d.norm, with.view, begin, begin + block);
        t->images->norm_apply(d.norm, with.view, y.data(), begin, begin + block);
      }
      CHECK(worst(floats(y), norm_in_doubles(c, joined(c, d), d, mask)) < kHalf);
    }
}

namespace {

/// Gradients of sum(dy * norm(x)) by finite differences; of x with `plus` added to the first
/// input's.
struct NormSlopes {
  std::vector<double> dx1, dx2, dweight, dbias, dadd, dscale, dshift;
};

NormSlopes norm_slopes(const ImageNormCase& c, NormData& d, const Halves& plus) {
  const int64_t channels = c.first + c.second;
  const Floats mask = mask_of(c, d);
  const std::vector<double> x = joined(c, d);
  const auto loss = [&](const std::vector<double>& at) {
    const std::vector<double> y = norm_in_doubles(c, at, d, mask);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * kernels::float_of(d.dy[i]);
    return sum;
  };
  const auto slope = [&](float& of) {
    of += 1e-4F;
    const double up = loss(x);
    of -= 2e-4F;
    const double down = loss(x);
    of += 1e-4F;
    return (up - down) / 2e-4;
  };
  NormSlopes s;
  std::vector<double> moved = x;
  for (size_t i = 0; i < x.size(); ++i) {
    moved[i] = x[i] + 1e-4;
    const double up = loss(moved);
    moved[i] = x[i] - 1e-4;
    const double dx = (up - loss(moved)) / 2e-4;
    moved[i] = x[i];
    if (static_cast<int64_t>(i) % channels < c.first)
      s.dx1.push_back(dx + kernels::float_of(plus[s.dx1.size()]));
    else
      s.dx2.push_back(dx);
  }
  for (size_t i = 0; i < static_cast<size_t>(channels); ++i) {
    s.dweight.push_back(slope(d.weight[i]));
    s.dbias.push_back(slope(d.bias[i]));
    if (c.add) s.dadd.push_back(slope(d.add[i]));
    if (c.scale) s.dscale.push_back(slope(d.scale[i]));
    if (c.scale) s.dshift.push_back(slope(d.shift[i]));
  }
  return s;
}

/// Room for the gradients of an image's norm, of halves or floats.
template <class Image>
struct NormRoom {
  Image dx1, dx2;
  Coefficients out, time;
  template <class Gradients>
  Gradients view(const ImageNormCase& c, const Image& plus) {
    Gradients g{};
    g.dx[0] = dx1.data();
    g.dx[1] = dx2.data();
    g.plus[0] = plus.data();
    g.dweight = out.view.a;
    g.dbias = out.view.b;
    if (c.add) g.dadd = time.view.a;
    if (c.scale) g.dscale = time.view.b, g.dshift = time.view.m;
    return g;
  }
};

/// `rounding`: of the image's type.
template <class Gradients>
void check_slopes(const ImageNormCase& c, const Gradients& g, const NormSlopes& s,
                  double rounding) {
  const int64_t channels = c.first + c.second;
  // A step of 1e-4 of a float32 near 1 is off by 6e-8, so a slope by 6e-4 of itself.
  CHECK(worst(Floats(g.dweight, g.dweight + channels), s.dweight) < 2e-3);
  CHECK(worst(Floats(g.dbias, g.dbias + channels), s.dbias) < 2e-3);
  if (c.add) CHECK(worst(Floats(g.dadd, g.dadd + channels), s.dadd) < 2e-3 + 4 * rounding);
  if (c.scale) {
    CHECK(worst(Floats(g.dscale, g.dscale + channels), s.dscale) < 2e-3);
    CHECK(worst(Floats(g.dshift, g.dshift + channels), s.dshift) < 2e-3);
  }
}

/// An image of floats as float32 kernels want it, [C / 16][pixels][16], and back.
Floats in_blocks(const Floats& x, int64_t pixels, bool back = false) {
  Floats out(x.size());
  const int64_t channels = static_cast<int64_t>(x.size()) / pixels;
  for (int64_t i = 0; i < pixels; ++i)
    for (int64_t k = 0; k < channels; ++k) {
      const auto row = static_cast<size_t>(i * channels + k),
                 block = static_cast<size_t>((k / 16 * pixels + i) * 16 + k % 16);
      out[back ? row : block] = x[back ? block : row];
    }
  return out;
}

}  // namespace

TEST_CASE("a norm's gradients are its finite differences, in every table") {
  for (const kernels::Table* t : kernels::usable_tables())
    for (const ImageNormCase& c : kNorms) {
      if (c.pixels * (c.first + c.second) / c.groups < 2) continue;  // one value: no gradient
      INFO(std::string(t->name));
      CAPTURE(c.first);
      CAPTURE(c.pixels);
      const int64_t channels = c.first + c.second;
      NormData d(c);
      Coefficients with(channels);
      t->images->norm_statistics(d.norm, with.view, 0, channels);
      const Halves plus = halves(c.pixels * c.first, 9);
      Halves dy = d.dy;
      NormRoom<Halves> room{Halves(d.x1.size()), Halves(d.x2.size()), Coefficients(channels),
                            Coefficients(channels)};
      const auto g = room.view<kernels::NormGradients>(c, plus);
      t->images->norm_backward(d.norm, with.view, dy.data(), g, 0, channels);
      const NormSlopes s = norm_slopes(c, d, plus);
      // dz is kept in bf16 between the two passes, dx is rounded again.
      CHECK(worst(floats(room.dx1), s.dx1) < 4 * kHalf);
      if (c.second) CHECK(worst(floats(room.dx2), s.dx2) < 4 * kHalf);
      check_slopes(c, g, s, kHalf);
    }
}

TEST_CASE("a norm of a float32 image and its gradients, in every table") {
  for (const kernels::Table* t : kernels::usable_tables())
    for (const ImageNormCase& c : kNorms) {
      if (c.pixels * (c.first + c.second) / c.groups < 2) continue;
      INFO(std::string(t->name));
      CAPTURE(c.first);
      CAPTURE(c.pixels);
      const int64_t channels = c.first + c.second;
      NormData d(c);
      const auto blocks = [&](const Halves& x) { return in_blocks(floats(x), c.pixels); };
      const Floats x1 = blocks(d.x1), x2 = blocks(d.x2);
      kernels::FloatNorm norm{{x1.data(), c.second ? x2.data() : nullptr},
                              {c.first, c.second},
                              c.pixels,
                              c.groups,
                              1e-5F,
                              d.norm.weight,
                              d.norm.bias,
                              d.norm.add,
                              d.norm.scale,
                              d.norm.shift,
                              c.silu,
                              d.norm.dropout};
      Coefficients with(channels);
      Floats y(static_cast<size_t>(c.pixels * channels)), dy = blocks(d.dy);
      t->images->float_norm_statistics(norm, with.view, 0, channels);
      t->images->float_norm_apply(norm, with.view, y.data(), 0, channels);
      CHECK(worst(in_blocks(y, c.pixels, true),
                  norm_in_doubles(c, joined(c, d), d, mask_of(c, d))) < 1e-5);
      const Halves plus = halves(c.pixels * c.first, 9);
      NormRoom<Floats> room{Floats(x1.size()), Floats(x2.size()), Coefficients(channels),
                            Coefficients(channels)};
      const Floats plus_blocks = blocks(plus);
      const auto g = room.view<kernels::FloatNormGradients>(c, plus_blocks);
      t->images->float_norm_backward(norm, with.view, dy.data(), g, 0, channels);
      const NormSlopes s = norm_slopes(c, d, plus);
      CHECK(worst(in_blocks(room.dx1, c.pixels, true), s.dx1) < 1e-5);
      if (c.second) CHECK(worst(in_blocks(room.dx2, c.pixels, true), s.dx2) < 1e-5);
      check_slopes(c, g, s, 0);
    }
}

namespace {

struct Heads {
  int64_t pixels, heads, width;
};

/// One head in doubles, from float32 inputs; rows of q, k, v.
struct HeadInDoubles {
  std::vector<double> o, log_sum, dq, dk, dv;
};

HeadInDoubles head_in_doubles(const Heads& s, const Halves& qkv, const Halves& dout, int64_t n,
                              int64_t head) {
  const int64_t channels = s.heads * s.width;
  const auto in = [&](int64_t part, int64_t i, int64_t w) -> double {
    return kernels::float_of(
        qkv[static_cast<size_t>(((n * s.pixels + i) * 3 + part) * channels + head * s.width + w)]);
  };
  const auto out = [&](int64_t i, int64_t w) -> double {
    return kernels::float_of(
        dout[static_cast<size_t>((n * s.pixels + i) * channels + head * s.width + w)]);
  };
  const auto size = static_cast<size_t>(s.pixels * s.width);
  HeadInDoubles r{std::vector<double>(size),
                  {},
                  std::vector<double>(size),
                  std::vector<double>(size),
                  std::vector<double>(size)};
  const double scale = 1 / std::sqrt(static_cast<double>(s.width));
  for (int64_t i = 0; i < s.pixels; ++i) {
    std::vector<double> p, dp;
    double sum = 0, mean = 0;
    for (int64_t j = 0; j < s.pixels; ++j) {
      double dot = 0, dv = 0;
      for (int64_t w = 0; w < s.width; ++w) {
        dot += in(0, i, w) * in(1, j, w);
        dv += out(i, w) * in(2, j, w);
      }
      p.push_back(std::exp(scale * dot));
      dp.push_back(dv);
      sum += p.back();
    }
    r.log_sum.push_back(std::log(sum));
    for (size_t j = 0; j < p.size(); ++j) mean += (p[j] /= sum) * dp[j];
    for (int64_t j = 0; j < s.pixels; ++j)
      for (int64_t w = 0; w < s.width; ++w) {
        const double pj = p[static_cast<size_t>(j)],
                     ds = scale * pj * (dp[static_cast<size_t>(j)] - mean);
        r.o[static_cast<size_t>(i * s.width + w)] += pj * in(2, j, w);
        r.dq[static_cast<size_t>(i * s.width + w)] += ds * in(1, j, w);
        r.dk[static_cast<size_t>(j * s.width + w)] += ds * in(0, i, w);
        r.dv[static_cast<size_t>(j * s.width + w)] += pj * out(i, w);
      }
  }
  return r;
}

}  // namespace

TEST_CASE("attention and its gradient, in every table") {
  for (const kernels::Table* t : kernels::usable_tables())
    for (const Heads& s : {Heads{49, 2, 8}, Heads{16, 1, 64}, Heads{35, 3, 40}, Heads{300, 1, 32},
                           Heads{1, 1, 32}}) {
      INFO(std::string(t->name));
      CAPTURE(s.pixels);
      CAPTURE(s.width);
      constexpr int64_t kExamples = 2;
      const int64_t channels = s.heads * s.width;
      const Halves qkv = halves(kExamples * s.pixels * 3 * channels, 1),
                   dout = halves(kExamples * s.pixels * channels, 2);
      Halves o(dout.size()), dqkv(qkv.size());
      Floats log_sum(static_cast<size_t>(kExamples * s.heads * s.pixels));
      const kernels::Attention a{s.pixels, s.heads, s.width, qkv.data(), o.data(), log_sum.data()};
      const kernels::AttentionGradient g{a, dout.data(), dqkv.data()};
      for (int64_t n = 0; n < kExamples; ++n)
        for (int64_t head = 0; head < s.heads; ++head) {
          t->images->attention(a, n, head);
          t->images->attention_backward(g, n, head);
          const HeadInDoubles expected = head_in_doubles(s, qkv, dout, n, head);
          const auto part = [&](const Halves& from, int64_t parts, int64_t which) {
            Floats out;
            for (int64_t i = 0; i < s.pixels; ++i)
              for (int64_t w = 0; w < s.width; ++w)
                out.push_back(kernels::float_of(from[static_cast<size_t>(
                    ((n * s.pixels + i) * parts + which) * channels + head * s.width + w)]));
            return out;
          };
          const auto rows = log_sum.begin() + (n * s.heads + head) * s.pixels;
          CHECK(worst(Floats(rows, rows + s.pixels), expected.log_sum) < 1e-5);
          // Weights and their gradients are rounded to bf16 for the products, and o as well.
          CHECK(worst(part(o, 1, 0), expected.o) < 2 * kHalf);
          CHECK(worst(part(dqkv, 3, 2), expected.dv) < 3 * kHalf);
          if (s.pixels == 1) continue;  // one key: no gradient of its weight
          CHECK(worst(part(dqkv, 3, 0), expected.dq) < 4 * kHalf);
          CHECK(worst(part(dqkv, 3, 1), expected.dk) < 4 * kHalf);
        }
    }
}
