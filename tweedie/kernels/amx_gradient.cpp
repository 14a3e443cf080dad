// Gradients of weights on AMX's tiles: a product whose inner dimension are the pixels.
//
//     dy, transposed   [K / 16][images][positions / 32]  tiles A of 16 outputs x 32 positions
//     x, in pairs      [images][2][rows / 2]  rows of 16 channels x 2 positions: any 16 are a tile
//     B
//
// A few images at a time, so that both stay in the second cache.  Four tiles C run over all pixels
// of these images and are then added to dweight:
//
//                   16 channels: tap  next tap     taps of one column of the kernel follow one
//     outputs  0-15               [  0      1  ]   another: they read nearly the same rows of x
//     outputs 16-31               [  2      3  ]
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
  const bf16* a[2];  // outputs 0 to 15 and 16 to 31 of the first image
  int64_t a_image;   // to the next image
  const bf16* b[2];  // by target
  int64_t b_image;
  int64_t images, tiles;
  Block sums;   // where they go
  bool onward;  // adds to what is there
};

void run_over_pixels(const Run& run) {
  if (run.onward) {
    load_block(run.sums);
  } else {
    zero_block();
  }
  for (int64_t n = 0; n < run.images; ++n) {
    const bf16 *a0 = run.a[0] + n * run.a_image, *a1 = run.a[1] + n * run.a_image,
               *b0 = run.b[0] + n * run.b_image, *b1 = run.b[1] + n * run.b_image;
    for (int64_t t = 0; t < run.tiles * kTile; t += kTile)
      multiply_block(a0 + t, a1 + t, b0 + t, b1 + t);
  }
  store_block(run.sums);
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
        const size_t taps = phase.taps.size();
        const auto target = [&](size_t t) {
          return Target{phase.taps[t % taps], static_cast<int64_t>(t / taps)};
        };
        for (size_t t = 0; t < 2 * taps; t += 2)
          run(phase, tile, images, k, channel, {target(t), target(t + 1)}, onward);
        tile += tiles_of(phase);
      }
    }
  }

 private:
  void run(const GradientPhase& phase, int64_t tile, int64_t images, int64_t k, int64_t channel,
           const Target (&targets)[2], bool onward) const {
    const int64_t output = g_.plan->weight_taps * g_.dweight_stride;
    Run run;
    for (int i = 0; i < 2; ++i) {
      const Target& target = targets[i];
      run.a[i] = a_ + (k / 16 + i) * stride_ + tile * kTile;
      run.b[i] = x_ + target.half * rows_ * 16 + target.tap.row * 16;
      run.sums.c[i] = g_.dweight + k * output + target.tap.weight * g_.dweight_stride + channel +
                      target.half * 16;
      run.sums.c[2 + i] = run.sums.c[i] + 16 * output;
    }
    run.sums.stride = output * static_cast<int64_t>(sizeof(float));
    run.a_image = tiles_ * kTile;
    run.b_image = rows_ * kChannelBlock;
    run.images = images;
    run.tiles = tiles_of(phase);
    run.onward = onward;
    run_over_pixels(run);
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
