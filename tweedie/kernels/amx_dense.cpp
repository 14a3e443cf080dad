// Dense layers on AMX's tiles.  A block of 64 rows is two halves of 32; for a half and 32 columns,
// four tiles C are summed up over all terms and then finished by AVX-512 (which was measured not to
// run beside the tiles, so that nothing is won by mixing the two):
//
//                  columns 0-15   16-31
//     rows  0-15  [     0           1   ]      bias: the tiles' start, one line read 16 times
//     rows 16-31  [     2           3   ]
//
//     activations and gradients   [width / 32][64 rows] lines of 32 columns: 16 lines are a tile A
//     packed weights              [outputs / 32][columns / 32][2] tiles B of 16 outputs
//     kept for weight gradients   [width / 32][2 halves][2] tiles: of activations B (rows in
//                                 pairs), of gradients A (transposed); 32 rows x 16 columns each
//     slopes, float32 sums        [width / 32][64 rows] lines of 32
#include <algorithm>
#include <cstring>

#define TWEEDIE_ISA amx_bf16
#include "tweedie/kernels/amx_tiles.h"
#include "tweedie/kernels/angles.inc"
#include "tweedie/kernels/dense.h"
#include "tweedie/kernels/scratch.h"

namespace tweedie::kernels::amx_bf16 {
namespace {

constexpr int64_t kHalf = 32;                         // rows
constexpr int64_t kPanel = kDenseRows * kDenseBlock;  // values of 64 rows x 32 columns
constexpr int64_t kHalfPanel = kHalf * kDenseBlock;

struct Pair {
  __m512 lo, hi;
};

inline Pair pair_at(const float* p) { return {_mm512_loadu_ps(p), _mm512_loadu_ps(p + 16)}; }
inline Pair pair_at(const bf16* p) { return {load16(p), load16(p + 16)}; }
inline void put(float* p, const Pair& x) {
  _mm512_storeu_ps(p, x.lo);
  _mm512_storeu_ps(p + 16, x.hi);
}
inline Pair operator+(const Pair& a, const Pair& b) {
  return {_mm512_add_ps(a.lo, b.lo), _mm512_add_ps(a.hi, b.hi)};
}
inline Pair operator*(const Pair& a, const Pair& b) {
  return {_mm512_mul_ps(a.lo, b.lo), _mm512_mul_ps(a.hi, b.hi)};
}
inline __m512i rounded(const Pair& x) { return to_bf16(x.lo, x.hi); }

/// 1 / (1 + e^-z), relative error below 2^-12: what bf16 keeps is 2^-9.  2^t = 2^floor(t) p(t -
/// floor(t)) with the best polynomial of degree 3.
inline __m512 sigmoid(__m512 z) {
  const __m512 t = _mm512_mul_ps(z, _mm512_set1_ps(-1.44269504f));
  const __m512 r = _mm512_reduce_ps(t, 1);  // t - floor(t)
  __m512 p = _mm512_fmadd_ps(r, _mm512_set1_ps(0.0780245226f), _mm512_set1_ps(0.226067155f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.695833541f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.999925219f));
  return _mm512_rcp14_ps(_mm512_add_ps(_mm512_set1_ps(1), _mm512_scalef_ps(p, t)));
}

inline Pair sigmoid(const Pair& z) { return {sigmoid(z.lo), sigmoid(z.hi)}; }

/// d silu(z) / dz = s + a (1 - s) with s = sigmoid(z), a = z s.
inline Pair silu_slope(const Pair& s, const Pair& a) {
  return {_mm512_fmadd_ps(_mm512_sub_ps(_mm512_set1_ps(1), s.lo), a.lo, s.lo),
          _mm512_fmadd_ps(_mm512_sub_ps(_mm512_set1_ps(1), s.hi), a.hi, s.hi)};
}

/// One product that is added up: lines of a, and B tiles of 32 columns of the result.
struct Term {
  const bf16 *a, *b;
  int64_t blocks;
};

/// 32 rows x 32 columns to `sums` [32][32].
void multiply(const Term* terms, int count, int64_t half, const float* bias, float* sums) {
  _tile_loadd(0, bias, 0);
  _tile_loadd(1, bias + 16, 0);
  _tile_loadd(2, bias, 0);
  _tile_loadd(3, bias + 16, 0);
  for (int n = 0; n < count; ++n) {
    const bf16* a = terms[n].a + half * kHalfPanel;
    const bf16* b = terms[n].b;
    for (int64_t k = 0; k < terms[n].blocks; ++k, a += kPanel, b += 2 * kTile)
      multiply_block(a, a + kTile, b, b + kTile);
  }
  store_block(block_at(sums, kDenseBlock));
}

/// Arrays of one block that a call needs, of every value.
struct BlockArrays {
  float* sums[kDenseValues];
  bf16* halves[kDenseValues];
};

BlockArrays block_arrays(const DenseNetwork& network) {
  static thread_local Scratch scratch;
  int64_t total = 0;
  for (int v = 0; v < network.value_count; ++v) total += network.values[v].width * kDenseRows;
  float* sums = scratch.get<float>(2 * total);
  bf16* halves = reinterpret_cast<bf16*>(sums + total);
  BlockArrays arrays;
  for (int v = 0; v < network.value_count; ++v) {
    arrays.sums[v] = sums;
    arrays.halves[v] = halves;
    sums += network.values[v].width * kDenseRows;
    halves += network.values[v].width * kDenseRows;
  }
  return arrays;
}

/// Whether a later value adds this one's sum.
int residual_user(const DenseNetwork& network, int v) {
  for (int u = v + 1; u < network.value_count; ++u)
    if (network.values[u].residual == v) return u;
  return -1;
}

/// The first `count` of 32 floats; the others are zeros, or stay as they are.
inline Pair first_of(const float* p, int64_t count) {
  return {_mm512_maskz_loadu_ps(lanes(count), p),
          _mm512_maskz_loadu_ps(lanes(count - 16), count > 16 ? p + 16 : p)};
}
inline void put_first(float* p, int64_t count, const Pair& x) {
  _mm512_mask_storeu_ps(p, lanes(count), x.lo);
  if (count > 16) _mm512_mask_storeu_ps(p + 16, lanes(count - 16), x.hi);
}

/// A row of an input with the rests of those that are split; `line` has zeros behind them.
void input_row(const DenseInput& input, int64_t row, float* line) {
  float* to = line;
  for (int p = 0; p < 2; to += input.columns[p++])
    for (int64_t c = 0; c < input.columns[p]; c += 32)
      put_first(to + c, input.columns[p] - c,
                first_of(input.parts[p] + row * input.columns[p] + c, input.columns[p] - c));
  for (int64_t c = 0; c < input.split; c += 16) {
    const __m512 x =
        _mm512_maskz_loadu_ps(lanes(input.split - c), input.parts[0] + row * input.columns[0] + c);
    const __m512i near = to_bf16(x, x);
    const __m512 rest = _mm512_sub_ps(x, load16(reinterpret_cast<const bf16*>(&near)));
    _mm512_mask_storeu_ps(to + c, lanes(input.split - c), rest);
  }
}

/// Rows of an input from `begin` on as lines; those beyond the last are zeros.
void read_input(const DenseForward& f, int v, int64_t begin, int64_t rows, float* floats,
                bf16* lines, bf16* tiles) {
  const int64_t width = f.network->values[v].width;
  std::memset(floats, 0, static_cast<size_t>(rows * width) * sizeof(float));
  // All rows before any is read again: what is still on its way to memory would be waited for.
  for (int64_t i = 0; i < rows && begin + i < f.rows; ++i)
    input_row(f.inputs[v], begin + i, floats + i * width);
  for (int64_t c = 0; c < width / kDenseBlock; ++c)
    for (int64_t i = 0; i < rows; ++i)
      _mm512_storeu_si512(lines + c * kPanel + i * kDenseBlock,
                          rounded(pair_at(floats + i * width + c * kDenseBlock)));
  if (!tiles) return;
  for (int64_t c = 0; c < width / kDenseBlock; ++c)
    for (int64_t i = 0; i < rows; i += 2) {
      const bf16* at = lines + c * kPanel + i * kDenseBlock;
      keep_pair(_mm512_loadu_si512(at), _mm512_loadu_si512(at + kDenseBlock), i % kHalf,
                tiles + c * kPanel + i / kHalf * kHalfPanel);
    }
}

/// What becomes of 32 x 32 sums.  Null: not wanted.
struct Finish {
  const float* residual;  // lines
  float* sums;            // lines of z
  bf16* lines;            // of a
  bf16 *tiles, *slopes;   // kept
};

template <bool kSilu, bool kKeep>
void finish_layer(const float* sums, const Finish& f) {
  for (int64_t i = 0; i < kHalf; i += 2) {
    __m512i a[2];
    for (int64_t j = 0; j < 2; ++j) {
      const int64_t at = (i + j) * kDenseBlock;
      Pair z = pair_at(sums + at);
      if (f.residual) z = z + pair_at(f.residual + at);
      if (f.sums) put(f.sums + at, z);
      if constexpr (kSilu) {
        const Pair s = sigmoid(z);
        z = z * s;
        if constexpr (kKeep) _mm512_storeu_si512(f.slopes + at, rounded(silu_slope(s, z)));
      }
      a[j] = rounded(z);
      _mm512_storeu_si512(f.lines + at, a[j]);
    }
    if constexpr (kKeep) keep_pair(a[0], a[1], i, f.tiles);
  }
}

/// The network's output: the first columns of the last value.
void write_output(const DenseForward& f, const float* sums, int64_t row, int64_t column) {
  for (int64_t i = 0; i < kHalf && row + i < f.rows; ++i)
    put_first(f.y + (row + i) * f.outputs + column, f.outputs - column,
              pair_at(sums + i * kDenseBlock));
}

struct BlockForward {
  const DenseForward& f;
  int64_t begin, halves;  // rows
  BlockArrays arrays;
  bf16* kept;

  int list_terms(const DenseValue& value, int64_t c, Term (&terms)[kDenseTerms]) const {
    for (int t = 0; t < value.term_count; ++t) {
      const int64_t blocks = f.network->values[value.terms[t].from].width / kDenseBlock;
      terms[t] = {arrays.halves[value.terms[t].from],
                  value.terms[t].weight + c * blocks * 2 * kTile, blocks};
    }
    return value.term_count;
  }

  const float* residual(int source, int64_t c, int64_t half) const {
    if (source < 0) return nullptr;
    return arrays.sums[source] + c * kPanel + half * kHalfPanel;
  }

  void layer(int v) const {
    const DenseValue& value = f.network->values[v];
    const bool last = v + 1 == f.network->value_count, onward = residual_user(*f.network, v) >= 0;
    const auto finish = value.silu
                            ? (kept ? finish_layer<true, true> : finish_layer<true, false>)
                            : (kept ? finish_layer<false, true> : finish_layer<false, false>);
    alignas(64) float sums[kHalfPanel];
    for (int64_t c = 0; c < value.width / kDenseBlock; ++c) {
      Term terms[kDenseTerms];
      const int count = list_terms(value, c, terms);
      for (int64_t half = 0; half < halves; ++half) {
        multiply(terms, count, half, value.bias + c * kDenseBlock, sums);
        const int64_t at = c * kPanel + half * kHalfPanel;
        if (last)
          write_output(f, sums, begin + half * kHalf, c * kDenseBlock);
        else
          finish(sums, {residual(value.residual, c, half), onward ? arrays.sums[v] + at : nullptr,
                        arrays.halves[v] + at, kept ? kept + value.activations + at : nullptr,
                        kept ? kept + value.slopes + at : nullptr});
      }
    }
  }

  void input(int v) const {
    read_input(f, v, begin, halves * kHalf, arrays.sums[v], arrays.halves[v],
               kept ? kept + f.network->values[v].activations : nullptr);
    if (residual_user(*f.network, v) < 0) return;
    const DenseInput& x = f.inputs[v];
    for (int64_t i = 0; i < halves * kHalf && begin + i < f.rows; ++i)
      for (int64_t c = 0; c < x.columns[0]; c += kDenseBlock)
        put(arrays.sums[v] + c * kDenseRows + i * kDenseBlock,
            pair_at(x.parts[0] + (begin + i) * x.columns[0] + c));
  }
};

void dense_forward(const DenseForward& f, int64_t block) {
  const int64_t begin = block * kDenseRows;
  const BlockForward walk = {f, begin, f.rows - begin > kHalf ? 2 : 1, block_arrays(*f.network),
                             f.kept ? f.kept + block * f.network->kept : nullptr};
  const TileSession session;
  for (int v = 0; v < f.network->value_count; ++v)
    v < f.network->input_count ? walk.input(v) : walk.layer(v);
}

/// Gradients of 32 x 32 elements in z.
struct FinishGradient {
  const bf16* slopes;     // or null: no SiLU
  const float* residual;  // lines of the gradient that came the short way, or null
  float* sums;            // lines, or null
  bf16* lines;
  bf16* tiles;  // or null
};

void finish_gradient(const float* sums, const FinishGradient& f) {
  __m512i rows[kHalf];
  for (int64_t i = 0; i < kHalf; ++i) {
    const int64_t at = i * kDenseBlock;
    Pair dz = pair_at(sums + at);
    if (f.slopes) dz = dz * pair_at(f.slopes + at);
    if (f.residual) dz = dz + pair_at(f.residual + at);
    if (f.sums) put(f.sums + at, dz);
    rows[i] = rounded(dz);
    _mm512_storeu_si512(f.lines + at, rows[i]);
  }
  if (f.tiles) transpose_halves(rows, f.tiles, f.tiles + kTile);
}

struct BlockBackward {
  const DenseBackward& b;
  int64_t begin, halves;
  BlockArrays arrays;
  const bf16* kept;
  bf16* gradients;

  /// Products of the gradients of those who use a value.
  int list_terms(int v, int64_t c, Term* terms) const {
    int count = 0;
    for (int u = v + 1; u < b.network->value_count; ++u) {
      const DenseValue& user = b.network->values[u];
      const int64_t blocks = user.width / kDenseBlock;
      for (int t = 0; t < user.term_count; ++t)
        if (user.terms[t].from == v)
          terms[count++] = {arrays.halves[u], user.terms[t].transposed + c * blocks * 2 * kTile,
                            blocks};
    }
    return count;
  }

  void read_output(int64_t c, int64_t half, float* sums) const {
    const int64_t column = c * kDenseBlock, row = begin + half * kHalf;
    std::memset(sums, 0, kHalfPanel * sizeof(float));
    for (int64_t i = 0; i < kHalf && row + i < b.rows; ++i)
      put(sums + i * kDenseBlock,
          first_of(b.dy + (row + i) * b.outputs + column, b.outputs - column));
  }

  void value_gradient(int v) const {
    static const float kNoBias[kDenseBlock] = {};
    const DenseValue& value = b.network->values[v];
    const bool input = v < b.network->input_count, last = v + 1 == b.network->value_count;
    const int short_way = residual_user(*b.network, v);
    alignas(64) float sums[kHalfPanel];
    Term terms[kDenseValues * kDenseTerms];
    for (int64_t c = 0; c < value.width / kDenseBlock; ++c) {
      const int count = list_terms(v, c, terms);
      for (int64_t half = 0; half < halves; ++half) {
        const int64_t at = c * kPanel + half * kHalfPanel;
        if (last)
          read_output(c, half, sums);
        else
          multiply(terms, count, half, kNoBias, sums);
        finish_gradient(sums, {value.silu ? kept + value.slopes + at : nullptr,
                               short_way < 0 ? nullptr : arrays.sums[short_way] + at,
                               input || value.residual >= 0 ? arrays.sums[v] + at : nullptr,
                               arrays.halves[v] + at,
                               gradients && !input ? gradients + value.gradients + at : nullptr});
      }
    }
    if (input) write_input(v);
  }

  void write_input(int v) const {
    const int64_t columns = b.columns[v];
    for (int64_t i = 0; i < halves * kHalf && begin + i < b.rows; ++i)
      for (int64_t c = 0; c < columns; c += kDenseBlock)
        put_first(b.dx[v] + (begin + i) * columns + c, columns - c,
                  pair_at(arrays.sums[v] + c * kDenseRows + i * kDenseBlock));
  }
};

void dense_backward(const DenseBackward& b, int64_t block) {
  const int64_t begin = block * kDenseRows;
  const BlockBackward walk = {b,
                              begin,
                              b.rows - begin > kHalf ? 2 : 1,
                              block_arrays(*b.network),
                              b.kept + block * b.network->kept,
                              b.gradients ? b.gradients + block * b.network->gradients : nullptr};
  const TileSession session;
  for (int v = b.network->value_count - 1; v >= 0; --v)
    if (v >= b.network->input_count || b.dx[v]) walk.value_gradient(v);
}

/// Adds up 32 outputs x 32 columns over all rows: tiles A of gradients times tiles B of what came
/// in.  `b` may be a single tile that serves for all rows (b_block = b_half = 0).
void sum_over_rows(int64_t rows, const bf16* a, int64_t a_block, const bf16* b, int64_t b_block,
                   float* sums) {
  zero_block();
  for (int64_t begin = 0; begin < rows; begin += kHalf) {
    const int64_t half = begin / kHalf % 2;
    const bf16 *a0 = a + begin / kDenseRows * a_block + half * kHalfPanel,
               *b0 = b + begin / kDenseRows * b_block + half * kHalfPanel;
    multiply_block(a0, a0 + kTile, b0, b0 + kTile);
  }
  store_block(block_at(sums, kDenseBlock));
}

/// A tile of ones sums up the rows themselves.
void bias_gradient(const DenseWeightGradient& g, const bf16* a, int64_t output) {
  alignas(64) bf16 ones[kTile];
  for (bf16& one : ones) one = 0x3f80;
  _tile_loadd(5, ones, 64);
  _tile_zero(0);
  _tile_zero(1);
  for (int64_t begin = 0; begin < g.rows; begin += kHalf) {
    const bf16* a0 = a + begin / kDenseRows * g.network->gradients + begin / kHalf % 2 * kHalfPanel;
    _tile_loadd(4, a0, 64);
    _tile_dpbf16ps(0, 4, 5);
    _tile_loadd(6, a0 + kTile, 64);
    _tile_dpbf16ps(1, 6, 5);
  }
  alignas(64) float sums[2 * kTileRows * 16];
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + kTileRows * 16, 64);
  for (int64_t o = 0; o < kDenseBlock && output + o < g.outputs; ++o)
    g.dbias[output + o] = sums[o * 16] + (g.add ? g.dbias[output + o] : 0);
}

/// 32 x 32 sums to their weights; columns of rests are added to those they belong to.
void write_gradient(const DenseWeightGradient& g, const float* sums, int64_t output,
                    int64_t column) {
  const int64_t own = std::min(g.inputs - column, kDenseBlock);
  const int64_t first_rest = std::max<int64_t>(own, 0),
                end_rest = std::min(g.inputs + g.split - column, kDenseBlock);
  for (int64_t o = 0; o < kDenseBlock && output + o < g.outputs; ++o, sums += kDenseBlock) {
    float* const row = g.dweight + (output + o) * g.inputs;
    if (own > 0) {
      const Pair sum = pair_at(sums);
      put_first(row + column, own, g.add ? sum + first_of(row + column, own) : sum);
    }
    for (int64_t c = first_rest; c < end_rest; ++c) row[column + c - g.inputs] += sums[c];
  }
}

void dense_weight_gradient(const DenseWeightGradient& g, int64_t block) {
  const DenseNetwork& network = *g.network;
  const DenseValue &value = network.values[g.value],
                   &from = network.values[value.terms[g.term].from];
  const bf16* const a = g.gradients + value.gradients + block * kPanel;
  const TileSession session;
  alignas(64) float sums[kHalfPanel];
  for (int64_t c = 0; c < from.width / kDenseBlock; ++c) {
    sum_over_rows(g.rows, a, network.gradients, g.kept + from.activations + c * kPanel,
                  network.kept, sums);
    write_gradient(g, sums, block * kDenseBlock, c * kDenseBlock);
  }
  bias_gradient(g, a, block * kDenseBlock);
}

}  // namespace

extern const DenseTable dense;
const DenseTable dense = {"amx_bf16",
                          true,
                          pack_dense,
                          pack_dense_transposed,
                          dense_forward,
                          dense_backward,
                          dense_weight_gradient,
                          angle_features};

}  // namespace tweedie::kernels::amx_bf16
