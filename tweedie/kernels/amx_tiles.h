// What the kernels on AMX's tiles share.  Compiled with the flags of amx_*.cpp only.
//
// A tile is 16 rows of 64 bytes.  One instruction multiplies
//
//     A: 16 rows x 32 bf16          B: 16 rows of 16 pairs            C: 16 x 16 float32
//     [ a(i,0) a(i,1) .. a(i,31) ]  [ b(2k,j) b(2k+1,j) .. ] row k    C += A B
//
// in 16 cycles: B holds 32 rows of 16 columns, two rows interleaved.  A tile of either kind is kept
// as 512 values in a row where it is packed.  There are eight tiles; their numbers are literals.
// No kernel uses more than six.  While the core's other hyperthread is busy, as it may be on a
// rented machine, the last two leave the core no tile to load into beside those that are being
// multiplied: products and loads then wait for one another (dev/kernels/tiles_in_use.cpp).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "tweedie/kernels/dense.h"
#include "tweedie/kernels/images.h"

namespace tweedie::kernels::amx_bf16 {

constexpr int64_t kTile = 512;  // values

/// While it lives, this thread's tiles are 16 x 64 bytes.  oneDNN changes and releases them too, so
/// every part of a work begins anew.
class TileSession {
 public:
  TileSession();
  ~TileSession() { _tile_release(); }
  TileSession(const TileSession&) = delete;
  TileSession& operator=(const TileSession&) = delete;
};

/// A block of a result: 2 x 2 tiles C.
///
///             B0   B1
///       A0  [ 0    1 ]
///       A1  [ 2    3 ]
struct Block {
  float* c[4];
  int64_t stride;  // bytes from a row of 16 to the next
};

/// In rows of `columns` floats.
inline Block block_at(float* c, int64_t columns) {
  return {{c, c + 16, c + 16 * columns, c + 16 * columns + 16},
          columns * static_cast<int64_t>(sizeof(float))};
}

inline void zero_block() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

inline void load_block(const Block& block) {
  _tile_loadd(0, block.c[0], block.stride);
  _tile_loadd(1, block.c[1], block.stride);
  _tile_loadd(2, block.c[2], block.stride);
  _tile_loadd(3, block.c[3], block.stride);
}

inline void store_block(const Block& block) {
  _tile_stored(0, block.c[0], block.stride);
  _tile_stored(1, block.c[1], block.stride);
  _tile_stored(2, block.c[2], block.stride);
  _tile_stored(3, block.c[3], block.stride);
}

/// Adds [a0; a1] [b0 b1] to the block.  Loading a0 twice is cheaper than a tile to keep it in.
inline void multiply_block(const bf16* a0, const bf16* a1, const bf16* b0, const bf16* b1) {
  _tile_loadd(7, b0, 64);
  _tile_loadd(6, a0, 64);
  _tile_dpbf16ps(0, 6, 7);
  _tile_loadd(6, a1, 64);
  _tile_dpbf16ps(2, 6, 7);
  _tile_loadd(7, b1, 64);
  _tile_dpbf16ps(3, 6, 7);
  _tile_loadd(6, a0, 64);
  _tile_dpbf16ps(1, 6, 7);
}

inline __m512 load16(const bf16* p) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

inline __m512i to_bf16(__m512 lo, __m512 hi) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(hi, lo));
}

/// The first `count` lanes, at most all 16.
inline __mmask16 lanes(int64_t count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}

/// Rows 2k and 2k + 1 of B, 32 columns of each, to row k of two tiles.
struct PairRow {
  __m512i lo, hi;
};

inline PairRow interleaved(__m512i even, __m512i odd) {
  alignas(64) static const uint16_t kFirst[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                  37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                  11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i first = _mm512_load_si512(kFirst),
                second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
  return {_mm512_permutex2var_epi16(even, first, odd),
          _mm512_permutex2var_epi16(even, second, odd)};
}

/// Two rows of activations to B tiles.
inline void keep_pair(__m512i even, __m512i odd, int64_t row, bf16* tiles) {
  const PairRow pair = interleaved(even, odd);
  _mm512_storeu_si512(tiles + row * 16, pair.lo);
  _mm512_storeu_si512(tiles + kTile + row * 16, pair.hi);
}

/// 16 x 16 words of 32 bits (pairs of bf16) transposed in place.
inline void transpose_words(__m512i (&r)[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // Quarter q of r[4 j + c] is column 4 q + c, rows 4 j to 4 j + 3.
  for (int c = 0; c < 4; ++c) {
    const __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x44),
                  b = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xee),
                  d = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x44),
                  e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xee);
    t[c] = _mm512_shuffle_i32x4(a, d, 0x88);
    t[4 + c] = _mm512_shuffle_i32x4(a, d, 0xdd);
    t[8 + c] = _mm512_shuffle_i32x4(b, e, 0x88);
    t[12 + c] = _mm512_shuffle_i32x4(b, e, 0xdd);
  }
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}

/// 32 rows of 32 bf16, transposed: the first 16 columns become one A tile, the others a second.
inline void transpose_halves(__m512i (&r)[32], bf16* first, bf16* second) {
  __m512i t[32];
  for (int i = 0; i < 32; i += 2) {
    t[i] = _mm512_unpacklo_epi16(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi16(r[i], r[i + 1]);
  }
  for (int i = 0; i < 32; i += 4) {
    r[i] = _mm512_unpacklo_epi32(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi32(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi32(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi32(t[i + 1], t[i + 3]);
  }
  for (int j = 0; j < 32; j += 8)
    for (int q = 0; q < 4; ++q) {
      t[j + 2 * q] = _mm512_unpacklo_epi64(r[j + q], r[j + 4 + q]);
      t[j + 2 * q + 1] = _mm512_unpackhi_epi64(r[j + q], r[j + 4 + q]);
    }
  // Quarter q of t[8 j + c] is column 8 q + c, rows 8 j to 8 j + 7.
  for (int c = 0; c < 8; ++c) {
    const __m512i a = _mm512_shuffle_i32x4(t[c], t[8 + c], 0x44),
                  b = _mm512_shuffle_i32x4(t[c], t[8 + c], 0xee),
                  d = _mm512_shuffle_i32x4(t[16 + c], t[24 + c], 0x44),
                  e = _mm512_shuffle_i32x4(t[16 + c], t[24 + c], 0xee);
    _mm512_store_si512(first + c * 32, _mm512_shuffle_i32x4(a, d, 0x88));
    _mm512_store_si512(first + (8 + c) * 32, _mm512_shuffle_i32x4(a, d, 0xdd));
    _mm512_store_si512(second + c * 32, _mm512_shuffle_i32x4(b, e, 0x88));
    _mm512_store_si512(second + (8 + c) * 32, _mm512_shuffle_i32x4(b, e, 0xdd));
  }
}

void pack_dense(const DenseWeight& w, bf16* packed, int64_t begin, int64_t end);
void pack_dense_transposed(const DenseWeight& w, bf16* packed, int64_t begin, int64_t end);
void pack_weight(const float* weight, int64_t outputs, int64_t taps, int64_t channels, bf16* packed,
                 int64_t begin, int64_t end);
void pack_weight_backward(const float* weight, int64_t outputs, int64_t taps, int64_t channels,
                          bf16* packed, int64_t begin, int64_t end);
void pack_inputs(const Convolution& convolution, int64_t part);
void convolution(const Convolution& convolution, int64_t parts, int64_t part);
void weight_gradient(const WeightGradient& gradient, int64_t parts, int64_t part);
void attention(const Attention& attention, int64_t example, int64_t head);
void attention_backward(const AttentionGradient& gradient, int64_t example, int64_t head);

}  // namespace tweedie::kernels::amx_bf16
