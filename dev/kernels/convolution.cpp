// The ladder of the convolution on images: every version that led to kernels/amx_convolution.cpp,
// each checked against the plain loops, then timed on one core.
//
//     cmake --build build --target kernel-ladder && build/kernel-ladder
//
// 1  plain: the specification
// 2  the same loops, sixteen outputs to a register of AVX-512
// 3  tiles, one product at a time: two loads for each
// 4  tiles, 2x2 products at a time: one load for each
// 5  tiles, 3x2 products at a time, in all eight tiles
// 6  the library's: 4x1 or 2x2 in six tiles, the next weights prefetched
#include <immintrin.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "tweedie/kernels/amx_tiles.h"
#include "tweedie/kernels/conv_split.h"
#include "tweedie/kernels/kernels.h"

using namespace tweedie;
using kernels::bf16;
using kernels::Convolution;
using kernels::amx_bf16::kTile;

namespace {

template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count)
      : count_(count),
        data_(static_cast<T*>(
            std::aligned_alloc(64, (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64))) {}
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* data() const { return data_; }
  int64_t size() const { return count_; }

 private:
  int64_t count_;
  T* data_;
};

/// One image's rows, as conv_plan.h describes them.
void pack(const Convolution& c, int64_t image, bf16* packed) {
  const auto rows = static_cast<int64_t>(c.plan->source.size());
  const int64_t channels = c.inputs[0].channels;
  const bf16* x = c.inputs[0].x + image * c.plan->in_pixels * channels;
  for (int64_t b = 0; b < channels / 32; ++b)
    for (int64_t r = 0; r < rows; ++r) {
      const int32_t from = c.plan->source[static_cast<size_t>(r)];
      bf16* to = packed + (b * rows + r) * 32;
      if (from == kernels::kZeros) {
        std::memset(to, 0, 64);
      } else {
        std::memcpy(to, x + from * channels + b * 32, 64);
      }
    }
}

void write(const Convolution& c, int64_t image, size_t tile, int64_t k, const float* sums) {
  for (size_t j = 0; j < 16; ++j) {
    const int32_t to = c.plan->phases[0].target[tile * 16 + j];
    if (to == kernels::kZeros) continue;
    bf16* y = c.y + (image * c.plan->out_pixels + to) * c.outputs + k;
    for (int64_t i = 0; i < 16; ++i) y[i] = kernels::bf16_of(sums[j * 16 + static_cast<size_t>(i)]);
  }
}

/// Version 3.
void one_tile(const Convolution& c, bf16* packed) {
  const kernels::amx_bf16::TileSession session;
  const kernels::ConvPhase& phase = c.plan->phases[0];
  const auto rows = static_cast<int64_t>(c.plan->source.size());
  const int64_t stride = weight_stride(c.inputs[0], *c.plan);
  alignas(64) float sums[256];
  for (int64_t image = 0; image < c.batch; ++image) {
    pack(c, image, packed);
    for (int64_t k = 0; k < c.outputs; k += 16)
      for (size_t m = 0; m < phase.tiles.size(); ++m) {
        const bf16* b = c.inputs[0].weight + k / 16 * stride;
        _tile_zero(0);
        for (int64_t n = 0; n < c.inputs[0].channels / 32; ++n)
          for (const kernels::Tap& tap : phase.taps) {
            _tile_loadd(6, packed + (n * rows + phase.tiles[m] + tap.row) * 32, 64);
            _tile_loadd(7, b + (n * c.plan->weight_taps + tap.weight) * kTile, 64);
            _tile_dpbf16ps(0, 6, 7);
          }
        _tile_stored(0, sums, 64);
        write(c, image, m, k, sums);
      }
  }
}

/// Version 4.
void four_tiles(const Convolution& c, bf16* packed) {
  const kernels::amx_bf16::TileSession session;
  const kernels::ConvPhase& phase = c.plan->phases[0];
  const auto rows = static_cast<int64_t>(c.plan->source.size());
  const int64_t stride = weight_stride(c.inputs[0], *c.plan);
  alignas(64) float sums[4][256];
  for (int64_t image = 0; image < c.batch; ++image) {
    pack(c, image, packed);
    for (int64_t k = 0; k < c.outputs; k += 32)
      for (size_t m = 0; m < phase.tiles.size(); m += 2) {
        const size_t next = m + 1 < phase.tiles.size() ? m + 1 : m;
        const bf16* b = c.inputs[0].weight + k / 16 * stride;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t n = 0; n < c.inputs[0].channels / 32; ++n)
          for (const kernels::Tap& tap : phase.taps) {
            const bf16* w = b + (n * c.plan->weight_taps + tap.weight) * kTile;
            _tile_loadd(4, packed + (n * rows + phase.tiles[m] + tap.row) * 32, 64);
            _tile_loadd(6, w, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, w + stride, 64);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, packed + (n * rows + phase.tiles[next] + tap.row) * 32, 64);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
          }
        _tile_stored(0, sums[0], 64);
        _tile_stored(1, sums[1], 64);
        _tile_stored(2, sums[2], 64);
        _tile_stored(3, sums[3], 64);
        write(c, image, m, k, sums[0]);
        write(c, image, m, k + 16, sums[1]);
        write(c, image, next, k, sums[2]);
        write(c, image, next, k + 16, sums[3]);
      }
  }
}

/// Version 5.
void six_tiles(const Convolution& c, bf16* packed) {
  const kernels::amx_bf16::TileSession session;
  const kernels::ConvPhase& phase = c.plan->phases[0];
  const auto rows = static_cast<int64_t>(c.plan->source.size());
  const int64_t stride = weight_stride(c.inputs[0], *c.plan);
  alignas(64) float sums[6][256];
  for (int64_t image = 0; image < c.batch; ++image) {
    pack(c, image, packed);
    for (int64_t k = 0; k < c.outputs; k += 32)
      for (size_t m = 0; m < phase.tiles.size(); m += 3) {
        const size_t last = phase.tiles.size() - 1,
                     tile[3] = {m, std::min(m + 1, last), std::min(m + 2, last)};
        const bf16 *b = c.inputs[0].weight + k / 16 * stride, *a[3];
        for (int i = 0; i < 3; ++i) a[i] = packed + phase.tiles[tile[i]] * 32;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        _tile_zero(4);
        _tile_zero(5);
        for (int64_t n = 0; n < c.inputs[0].channels / 32; ++n)
          for (const kernels::Tap& tap : phase.taps) {
            const bf16* w = b + (n * c.plan->weight_taps + tap.weight) * kTile;
            const int64_t row = (n * rows + tap.row) * 32;
            _tile_loadd(7, w, 64);
            _tile_loadd(6, a[0] + row, 64);
            _tile_dpbf16ps(0, 6, 7);
            _tile_loadd(6, a[1] + row, 64);
            _tile_dpbf16ps(2, 6, 7);
            _tile_loadd(6, a[2] + row, 64);
            _tile_dpbf16ps(4, 6, 7);
            _tile_loadd(7, w + stride, 64);
            _tile_dpbf16ps(5, 6, 7);
            _tile_loadd(6, a[1] + row, 64);
            _tile_dpbf16ps(3, 6, 7);
            _tile_loadd(6, a[0] + row, 64);
            _tile_dpbf16ps(1, 6, 7);
          }
        _tile_stored(0, sums[0], 64);
        _tile_stored(1, sums[1], 64);
        _tile_stored(2, sums[2], 64);
        _tile_stored(3, sums[3], 64);
        _tile_stored(4, sums[4], 64);
        _tile_stored(5, sums[5], 64);
        for (int i = 0; i < 6; ++i) write(c, image, tile[i / 2], k + i % 2 * 16, sums[i]);
      }
  }
}

double best_seconds(const std::function<void()>& work, double least) {
  using Clock = std::chrono::steady_clock;
  double best = HUGE_VAL, sum = 0;
  work();
  for (int i = 0; i < 3 || sum < least; ++i) {
    const auto begun = Clock::now();
    work();
    const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
    best = std::min(best, seconds);
    sum += seconds;
  }
  return best;
}

struct Shape {
  int64_t batch, inputs, outputs, size;
};

void climb(const Shape& s) {
  const kernels::ConvPlans plans = kernels::make_plans(kernels::ConvKind::same, s.size, s.size);
  const int64_t pixels = s.size * s.size, count = s.outputs * 9 * s.inputs;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  Buffer<bf16> x(s.batch * pixels * s.inputs), packed_weight(count),
      y(s.batch * pixels * s.outputs),
      rows(static_cast<int64_t>(plans.forward.source.size()) * s.inputs);
  Buffer<float> weight(count);
  for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = kernels::bf16_of(normal(random));
  for (int64_t i = 0; i < count; ++i) weight.data()[i] = 0.05F * normal(random);
  Convolution c{&plans.forward, s.batch, s.outputs, {}, 1};
  c.inputs[0] = {x.data(), s.inputs, packed_weight.data(), s.inputs / 32};
  c.y = y.data();
  const double flops = 2.0 * 9 * static_cast<double>(s.inputs * s.outputs * pixels * s.batch);
  std::vector<bf16> expected;
  const auto version = [&](const char* name, const kernels::ImageTable& table, auto&& work) {
    table.pack_weight(weight.data(), s.outputs, 9, s.inputs, packed_weight.data(), 0,
                      s.outputs / 16);
    const double seconds = best_seconds(work, 0.2);
    double worst = 0;
    if (expected.empty()) expected.assign(y.data(), y.data() + y.size());
    for (int64_t i = 0; i < y.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(kernels::float_of(y.data()[i])) -
                                       kernels::float_of(expected[static_cast<size_t>(i)])));
    std::printf("  %-28s %9.1f GFLOP/s   largest difference from plain %.3f\n", name,
                flops / seconds * 1e-9, worst);
  };
  std::printf("B%lld %lld>%lld %lldx%lld 3x3, one core\n", (long long)s.batch, (long long)s.inputs,
              (long long)s.outputs, (long long)s.size, (long long)s.size);
  for (const kernels::Table* table : kernels::usable_tables()) {
    const bool tiles = table->images->fast;
    if (tiles) {
      version("tiles, one at a time", *table->images, [&] { one_tile(c, rows.data()); });
      version("tiles, 2x2", *table->images, [&] { four_tiles(c, rows.data()); });
      version("tiles, 3x2", *table->images, [&] { six_tiles(c, rows.data()); });
    }
    version(table->name, *table->images, [&] { table->images->convolution(c, 1, 0); });
  }
}

}  // namespace

int main() {
  for (const Shape& s : {Shape{1, 64, 64, 28}, Shape{1, 128, 128, 32}, Shape{4, 256, 256, 16},
                         Shape{4, 256, 256, 4}})
    climb(s);
}
