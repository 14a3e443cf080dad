// A norm's thread block has one example and `block` of its channels: whole groups in whole lines of
// 32, one line after the other.  Thread (x, y) has two neighbouring channels of every 16th pixel:
//
//                x = 0    1         15
//     pixel 0   [c0 c1][c2 c3]...[c30 c31]   y = 0      a line: 64 bytes
//     pixel 1   [     ][     ]...[       ]   y = 1
//     ...                                               C values apart
//     pixel 16  [     ][     ]...[       ]   y = 0
//
// Each thread sums over its pixels; add_rows() then adds the 16 rows of threads in order.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "tweedie/kernels/cuda.h"

namespace tweedie::kernels::cuda {
namespace {

using Pair = __nv_bfloat162;

constexpr int kPairs = 16, kRows = 16, kThreads = kPairs * kRows;
constexpr int64_t kMostTiles = 65535;  // that a grid has along z
constexpr int64_t kPixelsPerThread = 8;

void check_queued(const char* what) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("CUDA kernel ") + what + ": " + cudaGetErrorString(error));
}

// --- Norms

__device__ float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }

/// 1 / (1 - rate) where element `index` of an example is kept, else 0: dropout_mask() of images.h.
__device__ float kept(const Dropout& dropout, uint32_t index) {
  uint32_t x = index ^ dropout.key;
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  x ^= x >> 16;
  return (x >> 8) >= static_cast<uint32_t>(dropout.rate * 0x1p24f) ? 1 / (1 - dropout.rate) : 0;
}

__device__ ImageNorm example_of(const BatchNorm& batch, int64_t i) {
  ImageNorm norm = batch.first;
  for (int k = 0; k < 2; ++k)
    if (norm.x[k]) norm.x[k] += i * norm.pixels * norm.channels[k];
  if (norm.add) norm.add += i * batch.time_stride;
  if (norm.scale) norm.scale += i * batch.time_stride;
  if (norm.shift) norm.shift += i * batch.time_stride;
  if (batch.dropout_keys) norm.dropout.key = batch.dropout_keys[i];
  return norm;
}

__device__ NormCoefficients coefficients_of(const float* all, int64_t channels, int64_t i) {
  float* const a = const_cast<float*>(all) + i * 4 * channels;
  return {a, a + channels, a + 2 * channels, a + 3 * channels};
}

__device__ NormGradients gradients_of(const NormGradients& first, const BatchNorm& batch,
                                      int64_t channels, int64_t i) {
  NormGradients out = first;
  for (int k = 0; k < 2; ++k) {
    const int64_t offset = i * batch.first.pixels * batch.first.channels[k];
    if (out.dx[k]) out.dx[k] += offset;
    if (out.plus[k]) out.plus[k] += offset;
  }
  out.dweight += i * channels;
  out.dbias += i * channels;
  if (out.dadd) out.dadd += i * batch.time_stride;
  if (out.dscale) out.dscale += i * batch.time_stride;
  if (out.dshift) out.dshift += i * batch.time_stride;
  return out;
}

/// Where this thread's two channels of the line at channel c are, in one of the two inputs.
struct Column {
  int which;
  int64_t offset, stride;  // elements: of pixel 0, and from a pixel to the next
};

__device__ Column column(const ImageNorm& norm, int64_t c) {
  const int which = c < norm.channels[0] ? 0 : 1;
  const int64_t offset = c - (which ? norm.channels[0] : 0) + 2 * threadIdx.x;
  return {which, offset, norm.channels[which]};
}

__device__ float2 load(const bf16* p) {
  return __bfloat1622float2(*reinterpret_cast<const Pair*>(p));
}

__device__ void store(bf16* p, float2 x) { *reinterpret_cast<Pair*>(p) = __float22bfloat162_rn(x); }

__device__ float2 plus(float2 a, float2 b) { return {a.x + b.x, a.y + b.y}; }

/// Sums over the rows of threads, for 32 channels: sum n into totals[n * stride] and what follows.
template <int kSums>
__device__ void add_rows(const float2 (&sums)[kSums], float* totals, int64_t stride) {
  __shared__ float2 rows[kSums][kRows][kPairs];
  for (int n = 0; n < kSums; ++n) rows[n][threadIdx.y][threadIdx.x] = sums[n];
  __syncthreads();
  if (threadIdx.y < kSums) {
    float2 sum = {0, 0};
    for (int y = 0; y < kRows; ++y) sum = plus(sum, rows[threadIdx.y][y][threadIdx.x]);
    float* const out = totals + threadIdx.y * stride + 2 * threadIdx.x;
    out[0] = sum.x;
    out[1] = sum.y;
  }
  __syncthreads();
}

/// Of the channels of one group, from the sums of its channels.
__device__ void group_coefficients(const ImageNorm& norm, int64_t begin, int64_t width,
                                   const float* sums, const float* squares,
                                   const NormCoefficients& out) {
  const double pixels = static_cast<double>(norm.pixels);
  double sum = 0, square = 0;
  for (int64_t i = 0; i < width; ++i) {
    const double t = norm.add ? norm.add[begin + i] : 0;
    sum += sums[i] + pixels * t;
    square += squares[i] + 2 * t * sums[i] + pixels * t * t;
  }
  const double count = pixels * static_cast<double>(width), mean = sum / count;
  const double variance = square / count - mean * mean;
  const double r = 1 / sqrt((variance > 0 ? variance : variance * 0) + norm.epsilon);
  for (int64_t i = 0; i < width; ++i) {
    const int64_t c = begin + i;
    const float t = norm.add ? norm.add[c] : 0;
    out.r[c] = static_cast<float>(r);
    out.m[c] = static_cast<float>((t - mean) * r);
    const float by = norm.scale ? 1 + norm.scale[c] : 1, on = norm.scale ? norm.shift[c] : 0;
    out.a[c] = norm.weight[c] * by * out.r[c];
    out.b[c] = (norm.bias[c] + norm.weight[c] * out.m[c]) * by + on;
  }
}

__device__ int64_t thread_number() { return threadIdx.y * kPairs + threadIdx.x; }

__global__ void statistics(BatchNorm batch, float* coefficients, int64_t block) {
  extern __shared__ float totals[];  // [2][block]
  const ImageNorm norm = example_of(batch, blockIdx.x);
  const int64_t channels = norm.channels[0] + norm.channels[1], width = channels / norm.groups,
                first = blockIdx.y * block;
  for (int64_t c = 0; c < block; c += kChannelBlock) {
    const Column from = column(norm, first + c);
    float2 sums[2] = {};
    for (int64_t i = threadIdx.y; i < norm.pixels; i += kRows) {
      const float2 x = load(norm.x[from.which] + from.offset + i * from.stride);
      sums[0] = plus(sums[0], x);
      sums[1] = plus(sums[1], {x.x * x.x, x.y * x.y});
    }
    add_rows(sums, totals + c, block);
  }
  const NormCoefficients out = coefficients_of(coefficients, channels, blockIdx.x);
  for (int64_t c = thread_number() * width; c < block; c += kThreads * width)
    group_coefficients(norm, first + c, width, totals + c, totals + block + c, out);
}

template <bool kSilu, bool kDrop>
__global__ void apply(BatchNorm batch, const float* coefficients, bf16* y) {
  const ImageNorm norm = example_of(batch, blockIdx.x);
  const int64_t channels = norm.channels[0] + norm.channels[1], line = blockIdx.y * kChannelBlock,
                c = line + 2 * threadIdx.x;
  const Column from = column(norm, line);
  const NormCoefficients with = coefficients_of(coefficients, channels, blockIdx.x);
  const float2 a = {with.a[c], with.a[c + 1]}, b = {with.b[c], with.b[c + 1]};
  bf16* const out = y + blockIdx.x * norm.pixels * channels;
  for (int64_t i = blockIdx.z * kRows + threadIdx.y; i < norm.pixels; i += gridDim.z * kRows) {
    const float2 x = load(norm.x[from.which] + from.offset + i * from.stride);
    float2 z = {x.x * a.x + b.x, x.y * a.y + b.y};
    if constexpr (kSilu) z = {z.x * logistic(z.x), z.y * logistic(z.y)};
    if constexpr (kDrop) {
      const auto index = static_cast<uint32_t>(i * channels + c);
      z = {z.x * kept(norm.dropout, index), z.y * kept(norm.dropout, index + 1)};
    }
    store(out + i * channels + c, z);
  }
}

/// The gradient of z = a x + b, from that of dropout(SiLU(z)).
template <bool kSilu, bool kDrop>
__device__ float dz_of(const Dropout& dropout, float a, float b, float x, float dy,
                       uint32_t index) {
  float g = dy;
  if constexpr (kDrop) g *= kept(dropout, index);
  if constexpr (kSilu) {
    const float z = x * a + b, s = logistic(z);
    g *= s * (1 + z * (1 - s));
  }
  return g;
}

/// A block's channels, in shared memory.
struct Totals {
  float *dz, *dz_normalised, *x;  // sums over the pixels
  float *e, *f;                   // dx = a dz + e x + f
};

/// As in image_norm.inc, of one group.
__device__ void group_gradients(const ImageNorm& norm, const NormCoefficients& with,
                                const NormGradients& out, int64_t begin, int64_t width,
                                const Totals& t, int64_t place) {
  const auto pixels = static_cast<float>(norm.pixels);
  float mean = 0, mean_normalised = 0;
  for (int64_t i = 0; i < width; ++i) {
    const int64_t c = begin + i, k = place + i;
    const float by = norm.scale ? 1 + norm.scale[c] : 1;
    t.dz_normalised[k] = with.r[c] * t.dz_normalised[k] + with.m[c] * t.dz[k];
    out.dweight[c] = t.dz_normalised[k] * by;
    out.dbias[c] = t.dz[k] * by;
    if (out.dscale) out.dscale[c] = norm.weight[c] * t.dz_normalised[k] + norm.bias[c] * t.dz[k];
    if (out.dshift) out.dshift[c] = t.dz[k];
    mean += norm.weight[c] * by * t.dz[k];
    mean_normalised += norm.weight[c] * by * t.dz_normalised[k];
  }
  mean /= pixels * static_cast<float>(width);
  mean_normalised /= pixels * static_cast<float>(width);
  for (int64_t i = 0; i < width; ++i) {
    const int64_t c = begin + i, k = place + i;
    const float r = with.r[c];
    t.e[k] = -r * mean_normalised * r;
    t.f[k] = -r * (mean + with.m[c] * mean_normalised);
    if (out.dadd) out.dadd[c] = with.a[c] * t.dz[k] + t.e[k] * t.x[k] + t.f[k] * pixels;
  }
}

/// What a thread needs of its two channels of one line.
struct Line {
  const bf16 *x, *dy;
  int64_t stride, channels, c;
  float2 a, b;
  Dropout dropout;

  __device__ float2 x_of(int64_t pixel) const { return load(x + pixel * stride); }
  template <bool kSilu, bool kDrop>
  __device__ float2 dz(int64_t pixel, float2 at) const {
    const float2 g = load(dy + pixel * channels);
    const auto index = static_cast<uint32_t>(pixel * channels + c);
    return {dz_of<kSilu, kDrop>(dropout, a.x, b.x, at.x, g.x, index),
            dz_of<kSilu, kDrop>(dropout, a.y, b.y, at.y, g.y, index + 1)};
  }
};

__device__ Line line_of(const ImageNorm& norm, const NormCoefficients& with, const bf16* dy,
                        int64_t channels, int64_t line) {
  const Column from = column(norm, line);
  const int64_t c = line + 2 * threadIdx.x;
  return {norm.x[from.which] + from.offset,
          dy + c,
          from.stride,
          channels,
          c,
          {with.a[c], with.a[c + 1]},
          {with.b[c], with.b[c + 1]},
          norm.dropout};
}

/// dx of a line, plus the residual's gradient.
template <bool kSilu, bool kDrop>
__device__ void write_dx(const ImageNorm& norm, const Line& line, const Column& to,
                         const NormGradients& out, float2 e, float2 f) {
  bf16* const dx = out.dx[to.which] + to.offset;
  const bf16* const more = out.plus[to.which] ? out.plus[to.which] + to.offset : nullptr;
  for (int64_t i = threadIdx.y; i < norm.pixels; i += kRows) {
    const float2 x = line.x_of(i), g = line.dz<kSilu, kDrop>(i, x);
    float2 sum = {g.x * line.a.x + (x.x * e.x + f.x), g.y * line.a.y + (x.y * e.y + f.y)};
    if (more) sum = plus(sum, load(more + i * to.stride));
    store(dx + i * to.stride, sum);
  }
}

template <bool kSilu, bool kDrop>
__global__ void backward(BatchNorm batch, const float* coefficients, const bf16* all_dy,
                         NormGradients gradients, int64_t block) {
  extern __shared__ float totals[];  // [5][block]
  const ImageNorm norm = example_of(batch, blockIdx.x);
  const int64_t channels = norm.channels[0] + norm.channels[1], width = channels / norm.groups,
                first = blockIdx.y * block;
  const NormCoefficients with = coefficients_of(coefficients, channels, blockIdx.x);
  const NormGradients out = gradients_of(gradients, batch, channels, blockIdx.x);
  const bf16* const dy = all_dy + blockIdx.x * norm.pixels * channels;
  const Totals t = {totals, totals + block, totals + 2 * block, totals + 3 * block,
                    totals + 4 * block};
  for (int64_t c = 0; c < block; c += kChannelBlock) {
    const Line line = line_of(norm, with, dy, channels, first + c);
    float2 sums[3] = {};  // of dz, dz x and x
    for (int64_t i = threadIdx.y; i < norm.pixels; i += kRows) {
      const float2 x = line.x_of(i), g = line.dz<kSilu, kDrop>(i, x);
      sums[0] = plus(sums[0], g);
      sums[1] = plus(sums[1], {g.x * x.x, g.y * x.y});
      sums[2] = plus(sums[2], x);
    }
    add_rows(sums, totals + c, block);
  }
  for (int64_t c = thread_number() * width; c < block; c += kThreads * width)
    group_gradients(norm, with, out, first + c, width, t, c);
  __syncthreads();
  for (int64_t c = 0; c < block; c += kChannelBlock) {
    const int64_t k = c + 2 * threadIdx.x;
    write_dx<kSilu, kDrop>(norm, line_of(norm, with, dy, channels, first + c),
                           column(norm, first + c), out, {t.e[k], t.e[k + 1]},
                           {t.f[k], t.f[k + 1]});
  }
}

struct NormGrid {
  int64_t channels, block;
  dim3 grid, threads = dim3(kPairs, kRows);
};

/// A thread block for each example and each part of its channels.
NormGrid norm_grid(const BatchNorm& norm) {
  const int64_t channels = norm.first.channels[0] + norm.first.channels[1];
  const int64_t block = norm_block(channels, norm.first.groups);
  return {channels, block,
          dim3(static_cast<unsigned>(norm.batch), static_cast<unsigned>(channels / block))};
}

size_t bytes_of(int64_t arrays, int64_t block) {
  return static_cast<size_t>(arrays * block) * sizeof(float);
}

void norm_statistics(const BatchNorm& norm, float* coefficients, Stream stream) {
  const NormGrid g = norm_grid(norm);
  statistics<<<g.grid, g.threads, bytes_of(2, g.block), stream>>>(norm, coefficients, g.block);
  check_queued("norm_statistics");
}

/// One of the four forms of a kernel that has SiLU and dropout or not.
template <class Kernel>
Kernel choose(const ImageNorm& norm, Kernel neither, Kernel silu, Kernel drop, Kernel both) {
  const bool drops = norm.dropout.rate > 0;
  return norm.silu ? (drops ? both : silu) : (drops ? drop : neither);
}

void norm_apply(const BatchNorm& norm, const float* coefficients, bf16* y, Stream stream) {
  const int64_t channels = norm.first.channels[0] + norm.first.channels[1],
                tile = kRows * kPixelsPerThread, tiles = (norm.first.pixels + tile - 1) / tile;
  const dim3 grid(static_cast<unsigned>(norm.batch),
                  static_cast<unsigned>(channels / kChannelBlock),
                  static_cast<unsigned>(std::min(tiles, kMostTiles)));
  const auto kernel = choose(norm.first, apply<false, false>, apply<true, false>,
                             apply<false, true>, apply<true, true>);
  kernel<<<grid, dim3(kPairs, kRows), 0, stream>>>(norm, coefficients, y);
  check_queued("norm_apply");
}

void norm_backward(const BatchNorm& norm, const float* coefficients, const bf16* dy,
                   const NormGradients& out, Stream stream) {
  const NormGrid g = norm_grid(norm);
  const auto kernel = choose(norm.first, backward<false, false>, backward<true, false>,
                             backward<false, true>, backward<true, true>);
  kernel<<<g.grid, g.threads, bytes_of(5, g.block), stream>>>(norm, coefficients, dy, out, g.block);
  check_queued("norm_backward");
}

// --- The optimiser

constexpr int64_t kMostBlocks = 4096, kTogether = 4;

/// Averages of one pass.
struct Averages {
  Average list[kTogether];
  int64_t count;
};

__device__ int64_t element_number() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ int64_t elements_at_once() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

/// `update`: false in a pass for further averages alone.
__global__ void adam_pass(AdamStep step, bool update, int64_t count, float* weight,
                          const float* gradient, float* first, float* second, Averages averages) {
  for (int64_t i = element_number(); i < count; i += elements_at_once()) {
    float w = weight[i];
    if (update) {
      const float g = gradient[i] * step.gradient_scale + step.coupled_decay * w;
      const float m = step.beta1 * first[i] + (1.0f - step.beta1) * g;
      const float v = step.beta2 * second[i] + (1.0f - step.beta2) * g * g;
      const float denominator = sqrtf(v) * step.root_correction + step.epsilon;
      w = w - step.decoupled_decay * w - step.step_size * m / denominator;
      first[i] = m;
      second[i] = v;
      weight[i] = w;
    }
    for (int64_t k = 0; k < averages.count; ++k) {
      const Average& average = averages.list[k];
      average.values[i] = average.keep * average.values[i] + (1.0f - average.keep) * w;
    }
  }
}

void adam(const AdamStep& step, int64_t count, float* weight, const float* gradient, float* first,
          float* second, const Average* averages, int64_t average_count, Stream stream) {
  const auto blocks =
      static_cast<unsigned>(std::clamp<int64_t>((count + kThreads - 1) / kThreads, 1, kMostBlocks));
  for (int64_t done = 0; done == 0 || done < average_count; done += kTogether) {
    Averages part{{}, std::min(average_count - done, kTogether)};
    std::copy_n(averages + done, part.count, part.list);
    adam_pass<<<blocks, kThreads, 0, stream>>>(step, done == 0, count, weight, gradient, first,
                                               second, part);
  }
  check_queued("adam");
}

/// The sum of every thread's value, for thread 0.
template <int kCount>
__device__ double block_sum(double value) {
  __shared__ double values[kCount];
  values[threadIdx.x] = value;
  for (int half = kCount / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) values[threadIdx.x] += values[threadIdx.x + half];
  }
  return values[0];
}

__global__ void partial_squares(int64_t count, const float* x, double* sums) {
  double sum = 0;
  for (int64_t i = element_number(); i < count; i += elements_at_once())
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void add_parts(double* sums) {
  const double sum = block_sum<kSumParts>(sums[threadIdx.x]);
  if (threadIdx.x == 0) sums[kSumParts] = sum;
}

void sum_of_squares(int64_t count, const float* x, double* sums, Stream stream) {
  partial_squares<<<kSumParts, kThreads, 0, stream>>>(count, x, sums);
  add_parts<<<1, kSumParts, 0, stream>>>(sums);
  check_queued("sum_of_squares");
}

}  // namespace

const Table table = {norm_statistics, norm_apply, norm_backward, adam, sum_of_squares};

}  // namespace tweedie::kernels::cuda
