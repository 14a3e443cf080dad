// Where a convolution reads and writes, as lists: so that one kernel serves every kind of it.
//
// An input image [pixels][C] is first copied to packed rows of one pixel and 32 channels each:
//
//     source:  packed row -> pixel of the input, or kZeros
//
// in such an order that what one tap of the kernel reads for 16 outputs in a row are 16 packed
// rows in a row.  A plan has one or more phases, each with its own outputs and taps:
//
//     out[target[16 i + j]] = sum over taps t of  weight[taps[t].weight] packed[tiles[i] +
//     taps[t].row + j]
//
// One phase is enough for kernels of 1x1 and 3x3.  A gradient of stride 2, and a convolution after
// doubling the size, have four: one for each parity of the output's row and column.
#pragma once

#include <cstdint>
#include <vector>

namespace tweedie::kernels {

constexpr int32_t kZeros = -1;
constexpr int64_t kTileRows = 16;

struct Tap {
  int32_t row;     // first packed row, less the tile's
  int32_t weight;  // which of the kernel's taps
};

struct ConvPhase {
  std::vector<Tap> taps;
  std::vector<int32_t> tiles;   // of 16 outputs: first packed row
  std::vector<int32_t> target;  // 16 for each tile: output pixel, or kZeros for none
};

struct ConvPlan {
  int64_t in_pixels, out_pixels;
  int64_t weight_taps;          // of the kernel: 1, 9 or 16 (doubled)
  std::vector<int32_t> source;  // packed row -> input pixel
  std::vector<ConvPhase> phases;
  Tap centre = {0, 0};  // of a 1x1 kernel on the same packed rows; one phase only
};

/// The gradient of the weights is a sum over positions of the output, 32 to a tile:
///
///     dweight[taps[t].weight] += dy[gradient[q]] x[source[taps[t].row + q]]   over all q
///
/// Rows of `source` are taken in pairs, so every tap's row is even.
struct GradientPhase {
  std::vector<Tap> taps;
  std::vector<int32_t> gradient;  // position -> pixel of dy, or kZeros; a multiple of 32
};

struct GradientPlan {
  int64_t in_pixels, out_pixels, weight_taps;
  std::vector<int32_t> source;
  std::vector<GradientPhase> phases;
};

/// What a convolution of images [height][width] needs, forward and backward.
struct ConvPlans {
  int64_t height, width, out_height, out_width;
  ConvPlan forward, backward;
  GradientPlan gradient;
};

enum class ConvKind {
  pointwise,     // 1x1
  same,          // 3x3, stride 1, zeros around
  halved,        // 3x3, stride 2, zeros around (diffusers: padding 1)
  halved_after,  // 3x3, stride 2, zeros right and below (padding 0)
  doubled,       // every pixel four times, then 3x3: four kernels of 2x2 whose taps are sums
};

ConvPlans make_plans(ConvKind kind, int64_t height, int64_t width);

/// The 2x2 kernels of `doubled`: taps 4 (2a + b) + 2i + j of phase (a, b), each the sum of those of
/// the 3x3 kernel that fall on the same pixel of the small image.  `weight` [K][9][C], `folded`
/// [K][16][C].
void fold_doubled(int64_t outputs, int64_t inputs, const float* weight, float* folded);
/// Its transpose, for gradients: adds to `weight`.
void unfold_doubled(int64_t outputs, int64_t inputs, const float* folded, float* weight);

}  // namespace tweedie::kernels
