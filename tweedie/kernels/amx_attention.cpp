// Attention of one head of one example on AMX's tiles, a block of queries at a time, so that the
// weights never leave the second cache (Dao et al. 2022, arXiv:2205.14135):
//
//     S = Q K'     [queries][keys]  float32     from tiles A of Q's rows, tiles B of K'
//     P = exp(scale S - max)        bf16        and its sums
//     O = P V / sum                 [queries][width]
//
// Queries, keys and the width are filled up with zeros to multiples of 32.
#define TWEEDIE_ISA amx_bf16
#include <algorithm>
#include <cmath>

#include "tweedie/kernels/amx_tiles.h"
#include "tweedie/kernels/lanes.inc"
#include "tweedie/kernels/scratch.h"

namespace tweedie::kernels::amx_bf16 {
namespace {

constexpr int64_t kMostQueries = 256;

int64_t filled(int64_t n) { return (n + 31) / 32 * 32; }

/// Rows of bf16, some of them and of their columns real.
struct Rows {
  const bf16* data;
  int64_t stride, rows, columns;

  /// 32 columns from `column` on; zeros outside.
  __m512i line(int64_t row, int64_t column) const {
    if (row >= rows || column >= columns) return _mm512_setzero_si512();
    const int64_t left = columns - column;
    const __mmask32 mask = left >= 32 ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
    return _mm512_maskz_loadu_epi16(mask, data + row * stride + column);
  }
  Rows from(int64_t row) const { return {data + row * stride, stride, rows - row, columns}; }
};

/// Tiles [m / 16][k / 32] of an A that is the rows.
void pack_rows(const Rows& from, int64_t m, int64_t k, bf16* to) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < k; j += 32)
      _mm512_store_si512(to + (i / 16 * (k / 32) + j / 32) * kTile + i % 16 * 32, from.line(i, j));
}

/// Tiles [m / 16][k / 32] of an A that is the rows transposed.
void pack_transposed_rows(const Rows& from, int64_t m, int64_t k, bf16* to) {
  for (int64_t i = 0; i < m; i += 32)
    for (int64_t j = 0; j < k; j += 32) {
      __m512i lines[32];
      for (int64_t r = 0; r < 32; ++r) lines[r] = from.line(j + r, i);
      bf16* tile = to + (i / 16 * (k / 32) + j / 32) * kTile;
      transpose_halves(lines, tile, tile + k / 32 * kTile);
    }
}

/// Tiles [k / 32][n / 16] of a B that is the rows.
void pack_columns(const Rows& from, int64_t k, int64_t n, bf16* to) {
  for (int64_t i = 0; i < k; i += 2)
    for (int64_t j = 0; j < n; j += 32) {
      const PairRow pair = interleaved(from.line(i, j), from.line(i + 1, j));
      bf16* tile = to + (i / 32 * (n / 16) + j / 16) * kTile + i % 32 * 16;
      _mm512_store_si512(tile, pair.lo);
      _mm512_store_si512(tile + kTile, pair.hi);
    }
}

/// Tiles [k / 32][n / 16] of a B that is the rows transposed.
void pack_transposed_columns(const Rows& from, int64_t k, int64_t n, bf16* to) {
  for (int64_t i = 0; i < k; i += 32)
    for (int64_t j = 0; j < n; j += 16) {
      __m512i lines[16];
      for (int64_t r = 0; r < 16; ++r) lines[r] = from.line(j + r, i);
      transpose_words(lines);
      bf16* tile = to + (i / 32 * (n / 16) + j / 16) * kTile;
      for (int64_t r = 0; r < 16; ++r) _mm512_store_si512(tile + r * 32, lines[r]);
    }
}

/// c [m][n] = a b, or c += a b; everything packed, m, n and k multiples of 32.
void multiply(const bf16* a, const bf16* b, int64_t m, int64_t n, int64_t k, bool onward,
              float* c) {
  const int64_t across = n / 16, deep = k / 32;
  for (int64_t j = 0; j < across; j += 2)
    for (int64_t i = 0; i < m / 16; i += 2) {
      const bf16 *a0 = a + i * deep * kTile, *a1 = a0 + deep * kTile, *b0 = b + j * kTile;
      const Block block = block_at(c + i * 16 * n + j * 16, n);
      if (onward) {
        load_block(block);
      } else {
        zero_block();
      }
      for (int64_t d = 0; d < deep; ++d, a0 += kTile, a1 += kTile, b0 += across * kTile)
        multiply_block(a0, a1, b0, b0 + kTile);
      store_block(block);
    }
}

/// Stores 32 columns of a bf16 row, or as many as there are.
void store_line(bf16* to, int64_t columns, Lanes lo, Lanes hi) {
  const __mmask32 mask = columns >= 32 ? ~__mmask32{0} : (__mmask32{1} << columns) - 1;
  _mm512_mask_storeu_epi16(to, mask,
                           to_bf16(reinterpret_cast<__m512>(lo), reinterpret_cast<__m512>(hi)));
}

/// What one head reads and writes, filled up.
struct Head {
  Rows q, k, v;
  int64_t keys, width, queries;  // filled; queries at a time
  float scale;
};

Head head_of(const Attention& a, int64_t example, int64_t head) {
  const int64_t channels = a.heads * a.width;
  const bf16* q = a.qkv + example * a.pixels * 3 * channels + head * a.width;
  const auto rows = [&](const bf16* data) { return Rows{data, 3 * channels, a.pixels, a.width}; };
  const int64_t keys = filled(a.pixels);
  return {rows(q),
          rows(q + channels),
          rows(q + 2 * channels),
          keys,
          filled(a.width),
          std::min(keys, kMostQueries),
          1 / std::sqrt(static_cast<float>(a.width))};
}

/// Of sixteen keys from j on, those that there are.
__mmask16 keys_from(int64_t j, int64_t keys) {
  const int64_t left = keys - j;
  return left >= 16 ? 0xffff : left <= 0 ? 0 : static_cast<__mmask16>((1u << left) - 1);
}

Lanes masked(__mmask16 mask, Lanes x, float other) {
  return reinterpret_cast<Lanes>(
      _mm512_mask_mov_ps(_mm512_set1_ps(other), mask, reinterpret_cast<__m512>(x)));
}

struct RowSums {
  float most, sum;
};

/// A row of scores becomes exp(scale score - most).
RowSums weights_row(float* scores, int64_t keys, int64_t filled_keys, float scale) {
  Lanes top = all(-HUGE_VALF);
  for (int64_t j = 0; j < filled_keys; j += 16)
    top = maximum(top, masked(keys_from(j, keys), load(scores + j), -HUGE_VALF));
  const float most = scale * _mm512_reduce_max_ps(reinterpret_cast<__m512>(top));
  Lanes sum = {};
  for (int64_t j = 0; j < filled_keys; j += 16) {
    const Lanes p = masked(keys_from(j, keys), exponential(load(scores + j) * scale - most), 0);
    sum += p;
    store(scores + j, p);
  }
  return {most, sum_of(sum)};
}

/// A row of float32 to a row of tiles A.
void to_tiles(const float* row, int64_t i, int64_t columns, bf16* tiles) {
  for (int64_t j = 0; j < columns; j += 32)
    _mm512_store_si512(tiles + (i / 16 * (columns / 32) + j / 32) * kTile + i % 16 * 32,
                       to_bf16(_mm512_loadu_ps(row + j), _mm512_loadu_ps(row + j + 16)));
}

/// Scratch of one thread, handed out piece by piece.
class Arena {
 public:
  explicit Arena(int64_t bytes) : next_(scratch().get<char>(bytes)) {}
  template <class T>
  T* take(int64_t count) {
    char* const taken = next_;
    next_ += filled(count) * static_cast<int64_t>(sizeof(T));
    return reinterpret_cast<T*>(taken);
  }

 private:
  static Scratch& scratch() {
    static thread_local Scratch memory;
    return memory;
  }
  char* next_;
};

}  // namespace

void attention(const Attention& a, int64_t example, int64_t head) {
  const Head h = head_of(a, example, head);
  Arena arena(2 * (2 * h.keys * h.width + h.queries * (h.width + h.keys)) +
              4 * h.queries * (h.keys + h.width + 1));
  bf16 *const keys = arena.take<bf16>(h.keys * h.width),
              *const values = arena.take<bf16>(h.keys * h.width),
              *const queries = arena.take<bf16>(h.queries * h.width),
              *const weights = arena.take<bf16>(h.queries * h.keys);
  float *const scores = arena.take<float>(h.queries * h.keys),
               *const out = arena.take<float>(h.queries * h.width),
               *const sums = arena.take<float>(h.queries);
  const TileSession session;
  pack_transposed_columns(h.k, h.width, h.keys, keys);
  pack_columns(h.v, h.keys, h.width, values);
  for (int64_t first = 0; first < a.pixels; first += h.queries) {
    const int64_t rows = std::min(h.queries, a.pixels - first), high = filled(rows);
    pack_rows(h.q.from(first), high, h.width, queries);
    multiply(queries, keys, high, h.keys, h.width, false, scores);
    for (int64_t i = 0; i < high; ++i) {
      float* const row = scores + i * h.keys;
      const RowSums r = weights_row(row, a.pixels, h.keys, h.scale);
      to_tiles(row, i, h.keys, weights);
      sums[i] = r.sum;
      if (a.log_sum && i < rows)
        a.log_sum[(example * a.heads + head) * a.pixels + first + i] = r.most + std::log(r.sum);
    }
    multiply(weights, values, high, h.width, h.keys, false, out);
    for (int64_t i = 0; i < rows; ++i) {
      bf16* to = a.o + (example * a.pixels + first + i) * a.heads * a.width + head * a.width;
      const float inverse = 1 / sums[i];
      for (int64_t j = 0; j < a.width; j += 32)
        store_line(to + j, a.width - j, load(out + i * h.width + j) * inverse,
                   load(out + i * h.width + j + 16) * inverse);
    }
  }
}

namespace {

/// P of a row again from log_sum, and dS = scale P (dP - mean), where mean = sum of dout o.
void gradient_row(float* scores, const float* dweights, int64_t keys, int64_t filled_keys,
                  float scale, float log_sum, float mean, float* dscores) {
  for (int64_t j = 0; j < filled_keys; j += 16) {
    const Lanes p = masked(keys_from(j, keys), exponential(load(scores + j) * scale - log_sum), 0);
    store(scores + j, p);
    store(dscores + j, p * scale * (load(dweights + j) - mean));
  }
}

float product_sum(const bf16* a, const bf16* b, int64_t count) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += float_of(a[i]) * float_of(b[i]);
  return sum;
}

void store_rows(const float* from, int64_t rows, int64_t width, int64_t filled_width, bf16* to,
                int64_t stride) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < width; j += 32)
      store_line(to + i * stride + j, width - j, load(from + i * filled_width + j),
                 load(from + i * filled_width + j + 16));
}

/// Row-major float32 [rows][columns] as bf16 rows.
void to_rows(const float* from, int64_t count, bf16* to) {
  for (int64_t i = 0; i < count; i += 32)
    _mm512_store_si512(to + i, to_bf16(_mm512_loadu_ps(from + i), _mm512_loadu_ps(from + i + 16)));
}

/// One head's gradient; memory of a thread, by what is in it.
struct HeadGradient {
  HeadGradient(const AttentionGradient& gradient, int64_t example_, int64_t head_)
      : g(gradient),
        a(gradient.forward),
        h(head_of(gradient.forward, example_, head_)),
        example(example_),
        head(head_),
        channels(a.heads * a.width),
        arena(2 * (3 * h.keys * h.width + h.queries * (2 * h.width + 2 * h.keys)) +
              4 * (2 * h.keys * h.width + h.queries * (3 * h.keys + h.width))) {}

  void compute() {
    pack_transposed_columns(h.k, h.width, h.keys, keys);
    pack_transposed_columns(h.v, h.width, h.keys, values);
    pack_columns(h.k, h.keys, h.width, keys_down);
    for (int64_t first = 0; first < a.pixels; first += h.queries)
      queries_from(first, std::min(h.queries, a.pixels - first));
    bf16* const out = g.dqkv + example * a.pixels * 3 * channels + head * a.width;
    store_rows(dk, a.pixels, a.width, h.width, out + channels, 3 * channels);
    store_rows(dv, a.pixels, a.width, h.width, out + 2 * channels, 3 * channels);
  }

 private:
  void queries_from(int64_t first, int64_t rows) {
    const int64_t high = filled(rows);
    const Rows dout = {g.dout + (example * a.pixels + first) * channels + head * a.width, channels,
                       rows, a.width};
    Rows q = h.q.from(first);
    q.rows = rows;
    pack_rows(q, high, h.width, packed_rows);
    multiply(packed_rows, keys, high, h.keys, h.width, false, scores);
    pack_rows(dout, high, h.width, packed_rows);
    multiply(packed_rows, values, high, h.keys, h.width, false, dweights);
    for (int64_t i = 0; i < high; ++i) row_gradient(first, i, rows, dout);
    accumulate(scores, high, dout, first > 0, dv);
    accumulate(dscores, high, q, first > 0, dk);
    for (int64_t i = 0; i < high; ++i) to_tiles(dscores + i * h.keys, i, h.keys, tiles);
    multiply(tiles, keys_down, high, h.width, h.keys, false, dq);
    store_rows(dq, rows, a.width, h.width,
               g.dqkv + (example * a.pixels + first) * 3 * channels + head * a.width, 3 * channels);
  }

  void row_gradient(int64_t first, int64_t i, int64_t rows, const Rows& dout) {
    float *const p = scores + i * h.keys, *const ds = dscores + i * h.keys;
    if (i >= rows) {
      std::fill(p, p + h.keys, 0.0f);
      std::fill(ds, ds + h.keys, 0.0f);
      return;
    }
    const bf16* const o = a.o + (example * a.pixels + first + i) * channels + head * a.width;
    gradient_row(p, dweights + i * h.keys, a.pixels, h.keys, h.scale,
                 a.log_sum[(example * a.heads + head) * a.pixels + first + i],
                 product_sum(dout.data + i * dout.stride, o, a.width), ds);
  }

  /// sum [keys][width] += weights' x rows.
  void accumulate(const float* by_query, int64_t high, const Rows& rows, bool onward, float* sum) {
    to_rows(by_query, high * h.keys, rows_bf16);
    pack_transposed_rows({rows_bf16, h.keys, high, h.keys}, h.keys, high, tiles);
    pack_columns(rows, high, h.width, packed_columns);
    multiply(tiles, packed_columns, h.keys, h.width, high, onward, sum);
  }

  const AttentionGradient& g;
  const Attention& a;
  const Head h;
  const int64_t example, head, channels;
  Arena arena;
  bf16 *const keys = arena.take<bf16>(h.keys * h.width),
              *const values = arena.take<bf16>(h.keys * h.width),
              *const keys_down = arena.take<bf16>(h.keys * h.width),
              *const packed_rows = arena.take<bf16>(h.queries * h.width),
              *const packed_columns = arena.take<bf16>(h.queries * h.width),
              *const rows_bf16 = arena.take<bf16>(h.queries * h.keys),
              *const tiles = arena.take<bf16>(h.queries * h.keys);
  float *const dk = arena.take<float>(h.keys * h.width),
               *const dv = arena.take<float>(h.keys * h.width),
               *const scores = arena.take<float>(h.queries * h.keys),
               *const dweights = arena.take<float>(h.queries * h.keys),
               *const dscores = arena.take<float>(h.queries * h.keys),
               *const dq = arena.take<float>(h.queries * h.width);
};

}  // namespace

void attention_backward(const AttentionGradient& gradient, int64_t example, int64_t head) {
  const TileSession session;
  HeadGradient(gradient, example, head).compute();
}

}  // namespace tweedie::kernels::amx_bf16
