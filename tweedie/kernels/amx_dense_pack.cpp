// Weights of dense layers as amx_dense.cpp reads them:
//
//     packed   [outputs / 32][columns / 32][2]  tiles B of 16 outputs
//
// Rows and columns that there are none of are zeros.
#include <algorithm>

#include "tweedie/kernels/amx_tiles.h"
#include "tweedie/kernels/dense.h"

namespace tweedie::kernels::amx_bf16 {
namespace {

/// 16 elements of a row of the padded matrix.
__m512 weights_at(const DenseWeight& w, int64_t output, int64_t column) {
  if (output >= w.outputs) return _mm512_setzero_ps();
  const float* const row = w.values + output * w.inputs;
  const int64_t left = w.inputs - column;  // in this matrix; then come those that are there twice
  const __m512 own = _mm512_maskz_loadu_ps(lanes(left), row + (left > 0 ? column : 0));
  if (left >= 16) return own;
  const auto again = static_cast<__mmask16>(lanes(left + w.split) & ~lanes(left));
  return left >= 0 ? _mm512_mask_expandloadu_ps(own, again, row)
                   : _mm512_mask_loadu_ps(own, again, row - left);
}

}  // namespace

void pack_dense(const DenseWeight& w, bf16* packed, int64_t begin, int64_t end) {
  const int64_t blocks = dense_width(w.inputs + w.split) / kDenseBlock;
  bf16* to = packed + begin * blocks * 2 * kTile;
  for (int64_t n = begin; n < end; ++n)
    for (int64_t k = 0; k < blocks; ++k)
      for (int64_t h = 0; h < 2; ++h, to += kTile) {
        __m512i rows[16];
        for (int64_t i = 0; i < 16; ++i) {
          const int64_t output = n * kDenseBlock + h * 16 + i, column = k * kDenseBlock;
          rows[i] = to_bf16(weights_at(w, output, column), weights_at(w, output, column + 16));
        }
        transpose_words(rows);
        for (int64_t i = 0; i < 16; ++i) _mm512_store_si512(to + i * 32, rows[i]);
      }
}

void pack_dense_transposed(const DenseWeight& w, bf16* packed, int64_t begin, int64_t end) {
  const int64_t blocks = dense_width(w.outputs) / kDenseBlock;
  bf16* to = packed + begin * blocks * 2 * kTile;
  for (int64_t n = begin; n < end; ++n)
    for (int64_t k = 0; k < blocks; ++k, to += 2 * kTile)
      for (int64_t i = 0; i < kDenseBlock; i += 2) {
        const int64_t output = k * kDenseBlock + i, column = n * kDenseBlock;
        const auto row = [&](int64_t o) {
          return to_bf16(weights_at(w, o, column), weights_at(w, o, column + 16));
        };
        keep_pair(row(output), row(output + 1), i, to);
      }
}

}  // namespace tweedie::kernels::amx_bf16
