// The twins for CUDA of the kernels that memory bounds: the norm of images (images.h) and the
// optimiser's pass (kernels.h).  Pointers are to device memory unless said otherwise; every
// function queues its work on a stream and returns.  Sums are added up in an order that depends on
// sizes alone, so that the same call gives the same bits.  A call that cannot be queued throws
// std::runtime_error.
#pragma once

#include "tweedie/kernels/kernels.h"

struct CUstream_st;  // what a cudaStream_t points to: this header needs no CUDA

namespace tweedie::kernels::cuda {

using Stream = CUstream_st*;

/// Norms of the examples of a batch.  The pointers of `first` are the first example's: images and
/// gradients follow each other without gaps, add, scale and shift every `time_stride` floats.
struct BatchNorm {
  ImageNorm first;
  int64_t batch;
  int64_t time_stride = 0;
  const uint32_t* dropout_keys = nullptr;  // [batch], in place of first.dropout.key
};

constexpr int64_t kSumParts = 512;

struct Table {
  /// ImageTable's, all channels of all examples; coefficients [batch][4][C]: a, b, r, m.
  void (*norm_statistics)(const BatchNorm& norm, float* coefficients, Stream stream);
  void (*norm_apply)(const BatchNorm& norm, const float* coefficients, bf16* y, Stream stream);
  /// dy is left as it is.  `out` is the first example's, as the norm: dweight, dbias [batch][C].
  void (*norm_backward)(const BatchNorm& norm, const float* coefficients, const bf16* dy,
                        const NormGradients& out, Stream stream);
  /// kernels::Table's.  `averages` is on the host, their values on the device.
  void (*adam)(const AdamStep& step, int64_t count, float* weight, const float* gradient,
               float* first, float* second, const Average* averages, int64_t average_count,
               Stream stream);
  /// Into sums[kSumParts]; the other elements, kSumParts of them, are scratch.
  void (*sum_of_squares)(int64_t count, const float* x, double* sums, Stream stream);
};

extern const Table table;

}  // namespace tweedie::kernels::cuda
