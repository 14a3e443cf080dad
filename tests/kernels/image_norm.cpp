// Every table's norms of images against doubles, and their gradients against finite differences.
#include <doctest/doctest.h>

#include "tests/kernels/image_support.h"

using namespace tweedie;
using namespace tweedie::testing;

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
