// Convolutions on AMX's tiles.  An image is packed once, for all outputs (see conv_plan.h):
//
//     packed   [C / 32][rows]  of 32 channels: any 16 rows in a row are a tile A
//     weights  [K / 16][C / 32][taps]  tiles B of 32 channels x 16 outputs
//
// Every tile B is used four times, or twice where there are few rows and the weights, read from
// memory, are what takes the time:
//
//               B                   B0   B1
//         A0  [ 0 ]           A0  [ 0    1 ]
//         A1  [ 1 ]           A1  [ 2    3 ]
//         A2  [ 2 ]           32 rows x 32 outputs
//         A3  [ 3 ]  64 rows x 16 outputs
#include "tweedie/kernels/amx_tiles.h"
#include "tweedie/kernels/conv_split.h"
#include "tweedie/kernels/scratch.h"

namespace tweedie::kernels::amx_bf16 {
namespace {

constexpr int64_t kRowsAhead = 24;
constexpr int kTilesHigh = 4;

/// Copies 32 channels of the pixels of one image to its packed rows.
void pack_block(const bf16* x, int64_t channels, const ConvPlan& plan, bf16* packed) {
  alignas(64) static const bf16 kZeroLine[32] = {};
  const auto rows = static_cast<int64_t>(plan.source.size());
  const int32_t* const source = plan.source.data();
  for (int64_t r = 0; r < rows; ++r) {
    if (r + kRowsAhead < rows) _mm_prefetch(x + source[r + kRowsAhead] * channels, _MM_HINT_T0);
    const bf16* from = source[r] == kZeros ? kZeroLine : x + source[r] * channels;
    _mm512_store_si512(packed + r * kChannelBlock, _mm512_loadu_si512(from));
  }
}

/// Block `block` of all inputs' blocks, to the packed rows of the image.
void pack_block_of(const Convolution& c, int64_t image, int64_t block, bf16* packed) {
  bf16* const to = packed + block * static_cast<int64_t>(c.plan->source.size()) * kChannelBlock;
  const ConvInput* input = c.inputs;
  for (; block >= input->channels / kChannelBlock; ++input)
    block -= input->channels / kChannelBlock;
  pack_block(input->x + image * c.plan->in_pixels * input->channels + block * kChannelBlock,
             input->channels, *c.plan, to);
}

/// What one input adds to a block of the result.
struct Terms {
  const bf16* weight;    // of the first 16 outputs
  int64_t next_outputs;  // to those of the next 16
  int64_t blocks, taps_of_weight;
  const Tap* taps;
  int64_t tap_count;
  int64_t packed_begin;  // of the input in a packed image
};

/// Brings the weights of the next block of outputs near while this one is computed.
struct Prefetcher {
  const bf16* next;
  int lines;  // a step
  void step() {
    for (int i = 0; i < lines; ++i, next += 32) _mm_prefetch(next, _MM_HINT_T1);
  }
};

/// step(row, b) for every tap of every 32 channels: its first packed row and its tile B of the
/// first 16 outputs.
template <class Step>
void each_step(const Terms* terms, int count, int64_t row_block, Step&& step) {
  for (int n = 0; n < count; ++n) {
    const Terms& term = terms[n];
    int64_t at = term.packed_begin;
    const bf16* weight = term.weight;
    for (int64_t c = 0; c < term.blocks; ++c, at += row_block) {
      for (int64_t t = 0; t < term.tap_count; ++t)
        step(at + term.taps[t].row * kChannelBlock, weight + term.taps[t].weight * kTile,
             term.next_outputs);
      weight += term.taps_of_weight * kTile;
    }
  }
}

/// The sums of 64 rows x 32 outputs to `sums` [64][32].
void multiply_high(const Terms* terms, int count, const bf16* const (&a)[kTilesHigh],
                   int64_t row_block, Prefetcher& ahead, float* sums) {
  constexpr int64_t kTileHeight = kTileRows * kChannelBlock;
  for (int64_t half = 0; half < 2; ++half, sums += 16) {
    zero_block();
    each_step(terms, count, row_block, [&](int64_t row, const bf16* b, int64_t next_outputs) {
      ahead.step();
      _tile_loadd(7, b + half * next_outputs, 64);
      _tile_loadd(6, a[0] + row, 64);
      _tile_dpbf16ps(0, 6, 7);
      _tile_loadd(6, a[1] + row, 64);
      _tile_dpbf16ps(1, 6, 7);
      _tile_loadd(6, a[2] + row, 64);
      _tile_dpbf16ps(2, 6, 7);
      _tile_loadd(6, a[3] + row, 64);
      _tile_dpbf16ps(3, 6, 7);
    });
    store_block({{sums, sums + kTileHeight, sums + 2 * kTileHeight, sums + 3 * kTileHeight}, 128});
  }
}

/// The sums of 32 rows x 32 outputs to `sums` [32][32].
void multiply_square(const Terms* terms, int count, const bf16* a0, const bf16* a1,
                     int64_t row_block, Prefetcher& ahead, float* sums) {
  zero_block();
  each_step(terms, count, row_block, [&](int64_t row, const bf16* b, int64_t next_outputs) {
    ahead.step();
    multiply_block(a0 + row, a1 + row, b, b + next_outputs);
  });
  store_block(block_at(sums, kChannelBlock));
}

struct Biases {
  __m512 lo, hi;
};

Biases biases(const Convolution& c, int64_t k) {
  Biases sum = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  for (const float* bias : c.bias)
    if (bias)
      sum = {_mm512_add_ps(sum.lo, _mm512_loadu_ps(bias + k)),
             _mm512_add_ps(sum.hi, _mm512_loadu_ps(bias + k + 16))};
  return sum;
}

/// 16 rows of sums with biases and residual to their pixels, outputs k to k + 31.
void write_tile(const Convolution& c, int64_t image, const int32_t* target, int64_t k,
                const Biases& bias, const float* sums) {
  const int64_t begin = image * c.plan->out_pixels;
  for (int64_t j = 0; j < kTileRows; ++j, sums += kChannelBlock) {
    if (target[j] == kZeros) continue;
    const int64_t at = (begin + target[j]) * c.outputs + k;
    __m512 lo = _mm512_add_ps(_mm512_load_ps(sums), bias.lo),
           hi = _mm512_add_ps(_mm512_load_ps(sums + 16), bias.hi);
    if (c.residual) {
      lo = _mm512_add_ps(lo, load16(c.residual + at));
      hi = _mm512_add_ps(hi, load16(c.residual + at + 16));
    }
    _mm512_storeu_si512(c.y + at, to_bf16(lo, hi));
  }
}

int list_terms(const Convolution& c, const ConvPhase& phase, int64_t block, Terms (&terms)[3]) {
  const int64_t row_block = static_cast<int64_t>(c.plan->source.size()) * kChannelBlock;
  int64_t begin = 0;
  for (int n = 0; n < c.input_count; ++n) {
    const ConvInput& input = c.inputs[n];
    const int64_t stride = weight_stride(input, *c.plan), blocks = input.channels / kChannelBlock;
    terms[n] = {input.weight + 2 * block * stride,
                stride,
                blocks,
                input.centre ? 1 : c.plan->weight_taps,
                input.centre ? &c.plan->centre : phase.taps.data(),
                input.centre ? 1 : static_cast<int64_t>(phase.taps.size()),
                begin};
    begin += blocks * row_block;
  }
  return c.input_count;
}

/// The weights that this thread needs after those of a block: of its next block, or, after its
/// last, of the next convolution.
const bf16* weights_after(const Convolution& c, const ConvPart& part, int64_t block,
                          const Terms& first) {
  const int64_t blocks = c.outputs / kChannelBlock;
  const auto range_of = [&](int64_t b) { return ((b + 1) * c.ranges - 1) / blocks; };
  const bool by_outputs = part.block_end - part.block_begin < blocks;
  const int64_t range = by_outputs ? range_of(block) : 0, next = block + 1;
  const bool last = next == blocks || (by_outputs && range_of(next) != range);
  if (!last || c.then == nullptr) return first.weight + 2 * first.next_outputs;
  return c.then + c.then_values * range / c.ranges;
}

/// All outputs of a part, of a few images that are packed.
void phase_outputs(const Convolution& c, const ConvPhase& phase, const ConvPart& part,
                   const bf16* packed, int64_t first, int64_t images) {
  const auto tiles = static_cast<int64_t>(phase.tiles.size());
  const int64_t size = packed_values(c),
                row_block = static_cast<int64_t>(c.plan->source.size()) * kChannelBlock;
  const int64_t total = images * tiles, high = total >= 2 * kTilesHigh ? kTilesHigh : 2,
                groups = (total + high - 1) / high;
  const int64_t steps = high == 2 ? groups : 2 * groups;  // a pair of tiles B
  alignas(64) float sums[kTilesHigh * kTileRows * kChannelBlock];
  for (int64_t block = part.block_begin; block < part.block_end; ++block) {
    Terms terms[3];
    const int count = list_terms(c, phase, block, terms);
    const Biases bias = biases(c, block * kChannelBlock);
    Prefetcher ahead = {weights_after(c, part, block, terms[0]),
                        static_cast<int>((32 + steps - 1) / steps)};
    for (int64_t m = 0; m < total; m += high) {
      const bf16* a[kTilesHigh];
      for (int64_t i = 0; i < high; ++i) {
        const int64_t tile = m + i < total ? m + i : m;
        a[i] = packed + tile / tiles * size +
               phase.tiles[static_cast<size_t>(tile % tiles)] * kChannelBlock;
      }
      if (high == 2) {
        multiply_square(terms, count, a[0], a[1], row_block, ahead, sums);
      } else {
        multiply_high(terms, count, a, row_block, ahead, sums);
      }
      for (int64_t i = 0; i < high && m + i < total; ++i)
        write_tile(c, first + (m + i) / tiles, phase.target.data() + (m + i) % tiles * kTileRows,
                   block * kChannelBlock, bias, sums + i * kTileRows * kChannelBlock);
    }
  }
}

}  // namespace

void pack_inputs(const Convolution& c, int64_t part) {
  const int64_t blocks = packed_blocks(c), image = part / blocks;
  pack_block_of(c, image, part % blocks, c.packed + image * packed_values(c));
}

void convolution(const Convolution& c, int64_t parts, int64_t part_index) {
  static thread_local Scratch scratch;
  const ConvPart part = conv_part(c, parts, part_index);
  const int64_t size = packed_values(c), blocks = packed_blocks(c);
  const int64_t together = std::min(images_together(c), part.image_end - part.image_begin);
  const TileSession session;
  for (int64_t first = part.image_begin; first < part.image_end; first += together) {
    const int64_t images = std::min(together, part.image_end - first);
    bf16* packed = c.packed;
    if (packed == nullptr) {
      packed = scratch.get<bf16>(together * size);
      for (int64_t i = 0; i < images * blocks; ++i)
        pack_block_of(c, first + i / blocks, i % blocks, packed + i / blocks * size);
    } else {
      packed += first * size;
    }
    for (const ConvPhase& phase : c.plan->phases)
      phase_outputs(c, phase, part, packed, first, images);
  }
}

void pack_weight(const float* weight, int64_t, int64_t taps, int64_t channels, bf16* packed,
                 int64_t begin, int64_t end) {
  const int64_t blocks = channels / kChannelBlock;
  for (int64_t k = begin; k < end; ++k)
    for (int64_t b = 0; b < blocks; ++b)
      for (int64_t t = 0; t < taps; ++t) {
        __m512i rows[16];
        for (int64_t i = 0; i < 16; ++i) {
          const float* from = weight + ((k * 16 + i) * taps + t) * channels + b * kChannelBlock;
          rows[i] = to_bf16(_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16));
        }
        transpose_words(rows);
        bf16* to = packed + ((k * blocks + b) * taps + t) * kTile;
        for (int64_t i = 0; i < 16; ++i) _mm512_stream_si512((__m512i*)(to + i * 32), rows[i]);
      }
}

void pack_weight_backward(const float* weight, int64_t outputs, int64_t taps, int64_t channels,
                          bf16* packed, int64_t begin, int64_t end) {
  alignas(64) static const uint16_t kPairs[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                  21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                  11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i pairs = _mm512_load_si512(kPairs);
  const int64_t blocks = outputs / kChannelBlock;
  for (int64_t c = begin; c < end; ++c)
    for (int64_t b = 0; b < blocks; ++b)
      for (int64_t t = 0; t < taps; ++t) {
        bf16* to = packed + ((c * blocks + b) * taps + t) * kTile;
        for (int64_t i = 0; i < 16; ++i) {
          const float* from = weight + ((b * 32 + 2 * i) * taps + t) * channels + c * 16;
          const __m512i two =
              to_bf16(_mm512_loadu_ps(from), _mm512_loadu_ps(from + taps * channels));
          _mm512_stream_si512((__m512i*)(to + i * 32), _mm512_permutexvar_epi16(pairs, two));
        }
      }
}

}  // namespace tweedie::kernels::amx_bf16
