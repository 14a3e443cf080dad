// Kernels on images in bfloat16, channels last: [B][pixels][C], where C is a multiple of 32.
// Arithmetic, sums, statistics, weights and their gradients are float32; only what lies between two
// layers is bf16.  Every function does one part of its work, so that the caller may give the parts
// to threads; a result never depends on how many parts or threads there are.  Norms there are of
// float32 images too, which are kept as oneDNN's convolutions want them: [B][C / 16][pixels][16].
#pragma once

#include <cstdint>

#include "tweedie/kernels/bf16.h"
#include "tweedie/kernels/conv_plan.h"

namespace tweedie::kernels {

constexpr int64_t kChannelBlock = 32;

/// Of Srivastava et al. 2014: element i of an example is kept where a hash of (key, i) is at least
/// rate, and then multiplied by 1 / (1 - rate).
struct Dropout {
  uint32_t key = 0;
  float rate = 0;
};

/// The key of an example's mask.
uint32_t dropout_key(uint64_t seed, int64_t layer, int64_t sample, int64_t step);

/// What the elements 0 to count - 1 of an example are multiplied with.
void dropout_mask(const Dropout& dropout, int64_t count, float* mask);

/// One example of dropout(SiLU(scale * GroupNorm([x1 | x2] + add) + shift)).
template <class T>
struct NormOf {
  const T* x[2];        // of channels[i]; the second may be null
  int64_t channels[2];  // multiples of 32
  int64_t pixels, groups;
  float epsilon;
  const float *weight, *bias;    // [C]
  const float* add = nullptr;    // [C]: a time embedding added before the norm
  const float* scale = nullptr;  // [C]: less 1; a time embedding after it
  const float* shift = nullptr;  // [C], with scale
  bool silu = false;
  Dropout dropout;
};
using ImageNorm = NormOf<bf16>;
using FloatNorm = NormOf<float>;

/// What the statistics are kept as, for every channel: the norm is a x + b, and x normalised alone
/// is r x + m.  Arrays of C.
struct NormCoefficients {
  float *a, *b, *r, *m;
};

template <class T>
struct NormGradientsOf {
  T* dx[2];                       // as x
  const T* plus[2];               // added to dx, or null
  float *dweight, *dbias;         // [C], this example's part
  float *dadd, *dscale, *dshift;  // [C], null where the norm has none
};
using NormGradients = NormGradientsOf<bf16>;
using FloatNormGradients = NormGradientsOf<float>;

/// One input of a convolution.
struct ConvInput {
  const bf16* x;          // [B][in_pixels][channels]
  int64_t channels;       // a multiple of 32
  const bf16* weight;     // packed; of the first block of these channels
  int64_t weight_blocks;  // blocks of 32 channels in the whole weight
  bool centre = false;    // a 1x1 kernel on the plan's pixels
};

/// y = sum of convolutions + biases + residual.
struct Convolution {
  const ConvPlan* plan;
  int64_t batch, outputs;  // outputs: a multiple of 32
  ConvInput inputs[3];     // the first has the plan's taps
  int input_count;
  const float* bias[2] = {};       // [outputs] or null
  const bf16* residual = nullptr;  // [B][out_pixels][outputs] or null
  bf16* y;                         // [B][out_pixels][outputs]
  bf16* packed = nullptr;          // what pack_inputs wrote; null: every part packs for itself
  // Hints, for what to bring near in time.
  int64_t ranges = 1;          // of parts that one thread takes one after the other
  const bf16* then = nullptr;  // weights that are read next, then_values of them
  int64_t then_values = 0;
};

/// dweight [outputs][taps][channels of x]; dbias [outputs], overwritten, or null.
struct WeightGradient {
  const GradientPlan* plan;
  int64_t batch, outputs, channels;
  const bf16* x;
  const bf16* dy;
  float *dweight, *dbias;
  int64_t dweight_stride;  // floats from one (output, tap) to the next: channels, or more
  bool add = false;        // to what is in dweight, else it is overwritten
};

/// Heads side by side: qkv [B][pixels][3][heads][width], o [B][pixels][heads][width].
struct Attention {
  int64_t pixels, heads, width;
  const bf16* qkv;
  bf16* o;
  float* log_sum;  // [B][heads][pixels], kept for the gradient; null: not kept
};

struct AttentionGradient {
  Attention forward;
  const bf16* dout;  // as o
  bf16* dqkv;        // as qkv
};

struct ImageTable {
  const char* name;
  bool fast;         // than float32 through LibTorch: has tiles
  bool fast_floats;  // oneDNN's Winograd convolutions run where these kernels do: AVX-512

  /// Channels in whole groups and blocks of 32 that can be worked on apart from others.
  /// begin, end: multiples of norm_block(C, groups).
  void (*norm_statistics)(const ImageNorm& norm, const NormCoefficients& out, int64_t begin,
                          int64_t end);
  void (*norm_apply)(const ImageNorm& norm, const NormCoefficients& with, bf16* y, int64_t begin,
                     int64_t end);
  /// Overwrites dy.
  void (*norm_backward)(const ImageNorm& norm, const NormCoefficients& with, bf16* dy,
                        const NormGradients& out, int64_t begin, int64_t end);

  /// weight [outputs][taps][channels] float32 to the layout that this table's convolution reads,
  /// of as many elements, on a cache line; `begin`, `end`: blocks of 16 outputs.
  void (*pack_weight)(const float* weight, int64_t outputs, int64_t taps, int64_t channels,
                      bf16* packed, int64_t begin, int64_t end);
  /// The same for its gradient, a convolution of `outputs` to `channels`; blocks of 16 channels.
  void (*pack_weight_backward)(const float* weight, int64_t outputs, int64_t taps, int64_t channels,
                               bf16* packed, int64_t begin, int64_t end);
  /// The part of one image and 32 channels: part image * blocks + block of all inputs' blocks.  To
  /// c.packed, packed_values(c) for each image.  Null where the convolution reads x itself.
  void (*pack_inputs)(const Convolution& convolution, int64_t part);
  /// Parts 0 to `parts` - 1 of the work, see convolution_parts.
  void (*convolution)(const Convolution& convolution, int64_t parts, int64_t part);
  /// The same; at most channels / 32 parts.
  void (*weight_gradient)(const WeightGradient& gradient, int64_t parts, int64_t part);

  /// One head of one example.
  void (*attention)(const Attention& attention, int64_t example, int64_t head);
  void (*attention_backward)(const AttentionGradient& gradient, int64_t example, int64_t head);

  void (*add)(int64_t count, const bf16* a, const bf16* b, bf16* sum);

  /// The norms of float32 images.
  void (*float_norm_statistics)(const FloatNorm& norm, const NormCoefficients& out, int64_t begin,
                                int64_t end);
  void (*float_norm_apply)(const FloatNorm& norm, const NormCoefficients& with, float* y,
                           int64_t begin, int64_t end);
  void (*float_norm_backward)(const FloatNorm& norm, const NormCoefficients& with, float* dy,
                              const FloatNormGradients& out, int64_t begin, int64_t end);
};

/// Channels that a norm's parts must be multiples of: whole groups in whole blocks of 32.
int64_t norm_block(int64_t channels, int64_t groups);

/// Values of one image's packed inputs, and blocks of 32 channels of all of them.
int64_t packed_values(const Convolution& convolution);
int64_t packed_blocks(const Convolution& convolution);

/// Values of the packed weights that the first input reads from.
int64_t weight_values(const Convolution& convolution);

/// Into how many parts to split a convolution for this many threads: by images where there are
/// enough of them, else by outputs.  Then all read the same inputs: better packed once.
int64_t convolution_parts(const Convolution& convolution, int64_t threads);

}  // namespace tweedie::kernels
