// Gradients of weights on AMX's tiles: a product whose inner dimension are the pixels.
//
//     dy, transposed   [K / 16][images][positions / 32]  tiles A of 16 outputs x 32 positions
//     x, in pairs      [images][2][rows / 2]  rows of 16 channels x 2 positions: any 16 are a tile
//     B
//
// A few images at a time, so that both stay in the second cache.  For 32 outputs and 16 channels of
// up to three taps, six tiles C run over all pixels of these images and are then added to dweight:
//
//                    tap 0  tap 1  tap 2
//     outputs  0-15 [  0      1      2  ]
//     outputs 16-31 [  3      4      5  ]
#include <algorithm>

#include "tweedie/kernels/amx_tiles.h"
#include "tweedie/kernels/scratch.h"

namespace tweedie::kernels::amx_bf16 {
namespace {

constexpr int64_t kPositions = 32;
constexpr int64_t kRowsAhead = 24;

int64_t tiles_of(const GradientPhase& phase) {
  return static_cast<int64_t>(phase.gradient.size()) / kPositions;
}

int64_t all_tiles(const GradientPlan& plan) {
  int64_t sum = 0;
  for (const GradientPhase& phase : plan.phases) sum += tiles_of(phase);
  return sum;
}

/// 32 positions x 32 outputs of dy to two tiles A; adds the sums of the outputs to `sums`.
void transpose_gradient(const bf16* dy, int64_t outputs, const int32_t* positions, bf16* first,
                        bf16* second, float* sums) {
  __m512i rows[kPositions];
  for (int64_t i = 0; i < kPositions; ++i) {
    rows[i] = positions[i] == kZeros ? _mm512_setzero_si512()
                                     : _mm512_loadu_si512(dy + positions[i] * outputs);
    _mm_prefetch(dy + (positions[i] + kPositions) * outputs, _MM_HINT_T0);
  }
  if (sums) {
    __m512 lo = _mm512_loadu_ps(sums), hi = _mm512_loadu_ps(sums + 16);
    for (const __m512i& row : rows) {
      const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(row)),
                    high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(row, 1));
      lo = _mm512_add_ps(lo, _mm512_castsi512_ps(_mm512_slli_epi32(low, 16)));
      hi = _mm512_add_ps(hi, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16)));
    }
    _mm512_storeu_ps(sums, lo);
    _mm512_storeu_ps(sums + 16, hi);
  }
  transpose_halves(rows, first, second);
}

/// Rows of one image's 32 channels, two by two.
void pack_pairs(const bf16* x, int64_t channels, const GradientPlan& plan, bf16* packed) {
  alignas(64) static const bf16 kZeroLine[32] = {};
  const auto rows = static_cast<int64_t>(plan.source.size());
  const int32_t* const source = plan.source.data();
  bf16* const half = packed + rows * 16;
  const auto line = [&](int64_t r) {
    return _mm512_loadu_si512(source[r] == kZeros ? kZeroLine : x + source[r] * channels);
  };
  for (int64_t r = 0; r < rows; r += 2) {
    if (r + kRowsAhead + 1 < rows) {
      _mm_prefetch(x + source[r + kRowsAhead] * channels, _MM_HINT_T0);
      _mm_prefetch(x + source[r + kRowsAhead + 1] * channels, _MM_HINT_T0);
    }
    const PairRow pair = interleaved(line(r), line(r + 1));
    _mm512_store_si512(packed + r * 16, pair.lo);
    _mm512_store_si512(half + r * 16, pair.hi);
  }
}

/// Where the tiles of one run over the pixels are.
struct Run {
  const bf16 *a0, *a1;  // outputs 0 to 15 and 16 to 31 of the first image
  int64_t a_image;      // to the next image
  const bf16* b[3];     // by tap
  int64_t b_image;
  int64_t images, tiles;
  float *c0[3], *c1[3];  // where the sums go
  int64_t stride;        // bytes between two outputs
  bool onward;           // adds to what is there
};

void run_three(const Run& run) {
  if (run.onward) {
    _tile_loadd(0, run.c0[0], run.stride);
    _tile_loadd(1, run.c0[1], run.stride);
    _tile_loadd(2, run.c0[2], run.stride);
    _tile_loadd(3, run.c1[0], run.stride);
    _tile_loadd(4, run.c1[1], run.stride);
    _tile_loadd(5, run.c1[2], run.stride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
  }
  for (int64_t n = 0; n < run.images; ++n) {
    const bf16 *a0 = run.a0 + n * run.a_image, *a1 = run.a1 + n * run.a_image;
    int64_t at = n * run.b_image;
    for (int64_t t = 0; t < run.tiles; ++t, a0 += kTile, a1 += kTile, at += kTile) {
      _tile_loadd(6, a0, 64);
      _tile_loadd(7, run.b[0] + at, 64);
      _tile_dpbf16ps(0, 6, 7);
      _tile_loadd(7, run.b[1] + at, 64);
      _tile_dpbf16ps(1, 6, 7);
      _tile_loadd(7, run.b[2] + at, 64);
      _tile_dpbf16ps(2, 6, 7);
      _tile_loadd(6, a1, 64);
      _tile_dpbf16ps(5, 6, 7);
      _tile_loadd(7, run.b[1] + at, 64);
      _tile_dpbf16ps(4, 6, 7);
      _tile_loadd(7, run.b[0] + at, 64);
      _tile_dpbf16ps(3, 6, 7);
    }
  }
  _tile_stored(0, run.c0[0], run.stride);
  _tile_stored(1, run.c0[1], run.stride);
  _tile_stored(2, run.c0[2], run.stride);
  _tile_stored(3, run.c1[0], run.stride);
  _tile_stored(4, run.c1[1], run.stride);
  _tile_stored(5, run.c1[2], run.stride);
}

void run_two(const Run& run) {
  if (run.onward) {
    _tile_loadd(0, run.c0[0], run.stride);
    _tile_loadd(1, run.c0[1], run.stride);
    _tile_loadd(2, run.c1[0], run.stride);
    _tile_loadd(3, run.c1[1], run.stride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t n = 0; n < run.images; ++n) {
    const bf16 *a0 = run.a0 + n * run.a_image, *a1 = run.a1 + n * run.a_image;
    int64_t at = n * run.b_image;
    for (int64_t t = 0; t < run.tiles; ++t, a0 += kTile, a1 += kTile, at += kTile) {
      _tile_loadd(4, a0, 64);
      _tile_loadd(6, run.b[0] + at, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, run.b[1] + at, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, a1, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, run.c0[0], run.stride);
  _tile_stored(1, run.c0[1], run.stride);
  _tile_stored(2, run.c1[0], run.stride);
  _tile_stored(3, run.c1[1], run.stride);
}

/// A column of tiles C: a tap and which 16 of the 32 channels.
struct Target {
  Tap tap;
  int64_t half;
};

/// A few images at a time, and what is packed of them.
class Batch {
 public:
  Batch(const WeightGradient& gradient, int64_t images, bf16* a, bf16* x)
      : g_(gradient),
        tiles_(all_tiles(*gradient.plan)),
        rows_(static_cast<int64_t>(gradient.plan->source.size())),
        stride_(images * tiles_ * kTile),
        a_(a),
        x_(x) {}

  void transpose(int64_t first, int64_t images, float* sums) {
    for (int64_t n = 0; n < images; ++n) {
      int64_t tile = n * tiles_;
      for (const GradientPhase& phase : g_.plan->phases)
        for (int64_t t = 0; t < tiles_of(phase); ++t, ++tile)
          for (int64_t k = 0; k < g_.outputs; k += kChannelBlock) {
            bf16* to = a_ + k / 16 * stride_ + tile * kTile;
            transpose_gradient(g_.dy + (first + n) * g_.plan->out_pixels * g_.outputs + k,
                               g_.outputs, phase.gradient.data() + t * kPositions, to, to + stride_,
                               sums ? sums + k : nullptr);
          }
    }
  }

  void pack(int64_t first, int64_t images, int64_t channel) {
    for (int64_t n = 0; n < images; ++n)
      pack_pairs(g_.x + (first + n) * g_.plan->in_pixels * g_.channels + channel, g_.channels,
                 *g_.plan, x_ + n * rows_ * kChannelBlock);
  }

  void multiply(int64_t images, int64_t channel, bool onward) const {
    for (int64_t k = 0; k < g_.outputs; k += kChannelBlock) {
      int64_t tile = 0;
      for (const GradientPhase& phase : g_.plan->phases) {
        each_run(phase, [&](const Target* targets, int count) {
          run(phase, tile, images, k, channel, targets, count, onward);
        });
        tile += tiles_of(phase);
      }
    }
  }

 private:
  /// Taps in threes where three divides them, else in twos; a single tap with both halves.
  template <class Visit>
  static void each_run(const GradientPhase& phase, Visit&& visit) {
    const auto taps = static_cast<int64_t>(phase.taps.size());
    if (taps == 1) {
      const Target both[] = {{phase.taps[0], 0}, {phase.taps[0], 1}};
      visit(both, 2);
      return;
    }
    const int64_t width = taps % 3 == 0 ? 3 : 2;
    for (int64_t half = 0; half < 2; ++half)
      for (int64_t t = 0; t < taps; t += width) {
        Target targets[3];
        for (int64_t i = 0; i < width; ++i)
          targets[i] = {phase.taps[static_cast<size_t>(t + i)], half};
        visit(targets, static_cast<int>(width));
      }
  }

  void run(const GradientPhase& phase, int64_t tile, int64_t images, int64_t k, int64_t channel,
           const Target* targets, int count, bool onward) const {
    Run run;
    run.a0 = a_ + k / 16 * stride_ + tile * kTile;
    run.a1 = run.a0 + stride_;
    run.a_image = tiles_ * kTile;
    run.b_image = rows_ * kChannelBlock;
    run.images = images;
    run.tiles = tiles_of(phase);
    run.stride = g_.plan->weight_taps * g_.dweight_stride * static_cast<int64_t>(sizeof(float));
    run.onward = onward;
    for (int i = 0; i < count; ++i) {
      const Target& target = targets[i];
      run.b[i] = x_ + target.half * rows_ * 16 + target.tap.row * 16;
      run.c0[i] = g_.dweight + (k * g_.plan->weight_taps + target.tap.weight) * g_.dweight_stride +
                  channel + target.half * 16;
      run.c1[i] = run.c0[i] + 16 * g_.plan->weight_taps * g_.dweight_stride;
    }
    if (count == 3) {
      run_three(run);
    } else {
      run_two(run);
    }
  }

  const WeightGradient& g_;
  int64_t tiles_, rows_;
  int64_t stride_;  // between two blocks of 16 outputs
  bf16 *a_, *x_;
};

/// Images that fit the second cache together: not a function of the parts, for the sums' order.
int64_t images_together(const WeightGradient& g) {
  constexpr int64_t kCache = 1400 << 10;
  const int64_t bytes = static_cast<int64_t>(g.plan->source.size()) * kChannelBlock * 2 +
                        g.outputs * all_tiles(*g.plan) * kPositions * 2;
  return std::clamp<int64_t>(kCache / bytes, 1, g.batch);
}

}  // namespace

void weight_gradient(const WeightGradient& g, int64_t parts, int64_t part) {
  static thread_local Scratch a, x;
  const int64_t blocks = g.channels / kChannelBlock, begin = blocks * part / parts,
                end = blocks * (part + 1) / parts, together = images_together(g);
  float* const sums = part == 0 ? g.dbias : nullptr;
  if (sums) std::fill(sums, sums + g.outputs, 0.0f);
  Batch batch(g, together, a.get<bf16>(g.outputs * together * all_tiles(*g.plan) * kPositions),
              x.get<bf16>(together * static_cast<int64_t>(g.plan->source.size()) * kChannelBlock));
  const TileSession session;
  for (int64_t first = 0; first < g.batch; first += together) {
    const int64_t images = std::min(together, g.batch - first);
    batch.transpose(first, images, sums);
    for (int64_t b = begin; b < end; ++b) {
      batch.pack(first, images, b * kChannelBlock);
      batch.multiply(images, b * kChannelBlock, g.add || first > 0);
    }
  }
}

}  // namespace tweedie::kernels::amx_bf16
