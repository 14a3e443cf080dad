// Loops on raw pointers, in one table chosen by the CPU when the program starts.  `plain` is the
// specification; its twins are the same source compiled for wider registers, or written for AMX's
// tiles.  TWEEDIE_KERNELS=plain|avx2|avx512|amx_bf16 forces one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tweedie/kernels/dense.h"
#include "tweedie/kernels/images.h"

namespace tweedie::kernels {

/// One update of Adam (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1) with its bias corrections
/// folded in, then the averages.
struct AdamStep {
  float gradient_scale;   // clipping
  float beta1, beta2;     // decays of the moments
  float step_size;        // learning rate / (1 - beta1^t)
  float root_correction;  // 1 / sqrt(1 - beta2^t)
  float epsilon;
  float decoupled_decay;  // learning rate * weight decay, taken from the weights (AdamW)
  float coupled_decay;    // weight decay, added to the gradient (Adam)
};

/// An average a <- keep a + (1 - keep) w.
struct Average {
  float* values;
  float keep;
};

/// [batch, channels, pixels] in `groups` groups of channels; `channels` is a multiple of `groups`.
struct NormShape {
  int64_t channels, pixels, groups;
};

/// Of Philox 4x32-10 (Salmon et al. 2011): its key, and the second word of its counter.  The first
/// is the number of a group of four values in a row, the others the row's sample.
struct NormalsKey {
  uint32_t key[2], step;
};

struct Table {
  const char* name;
  void (*adam)(const AdamStep& step, int64_t count, float* weight, const float* gradient,
               float* first, float* second, const Average* averages, int64_t average_count);
  double (*sum_of_squares)(int64_t count, const float* x);
  /// y = SiLU(GroupNorm(x)) of one example, or GroupNorm alone; keeps mean and 1/std of each group.
  void (*norm_forward)(const NormShape& shape, bool silu, float epsilon, const float* x,
                       const float* weight, const float* bias, float* y, float* mean,
                       float* inverse_std);
  /// dx of one example, and its parts of dweight and dbias [channels].
  void (*norm_backward)(const NormShape& shape, bool silu, const float* x, const float* weight,
                        const float* bias, const float* mean, const float* inverse_std,
                        const float* dy, float* dx, float* dweight, float* dbias);
  /// Standard normals into rows [.., row_size] of `out`, one row for each of `samples`: the groups
  /// from `begin` to `end`, counted over all rows.  Box & Muller's transform of a group's words 0
  /// and 1, and of 2 and 3.  The same bits in every table.
  void (*normals)(const NormalsKey& key, const int64_t* samples, int64_t row_size, int64_t begin,
                  int64_t end, float* out);
  const ImageTable* images;
  const DenseTable* dense;
};

/// The table in use.  Throws std::invalid_argument if TWEEDIE_KERNELS names none, or one that this
/// CPU cannot run.
const Table& table();

/// Every table that this CPU can run, `plain` first.
std::vector<const Table*> usable_tables();

/// Why a CPU that has AMX cannot use it, or "".
std::string amx_refusal();

}  // namespace tweedie::kernels
