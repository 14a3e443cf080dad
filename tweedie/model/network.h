// The only abstract class: what a user's network must be.
#pragma once

#include <string>
#include <vector>

#include <torch/nn/module.h>
#include <torch/types.h>

namespace tweedie {

using torch::Tensor;

/// What a sample is asked to be; an undefined member is not used.
struct Condition {
  Tensor label;    // int64 [B], class ids
  Tensor context;  // [B, ...], anything else

  /// Of the samples at these places of the batch, int64 [A].
  Condition rows(const Tensor& places) const {
    const auto chosen = [&](const Tensor& values) {
      return values.defined() ? values.index_select(0, places.to(values.device())) : Tensor();
    };
    return {chosen(label), chosen(context)};
  }
};

struct Network : torch::nn::Module {
  /// F(c_in x_t, c_noise): x [B, C, ...], c_noise [B] -> [B, C, ...], or [B, 2C, ...] with learned
  /// variance.
  virtual Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition&) = 0;

  std::vector<std::string> zero_initialised;  // names of parameters that start at zero

  // Whether forward() can be recorded as a CUDA graph, see captured() in cuda.h: when evaluated,
  // and when trained.
  bool capturable = false, trains_capturable = false;

  // What forward() must be told, beside the classes of the data: a label of each sample, any whole
  // number; a context of this shape for each.
  bool needs_label = false;
  std::vector<int64_t> needs_context;

  bool channels_last = false;  // kernels of convolutions are best kept as [K, h, w, C] in memory

  // Key of the random masks of dropout, set before every training step: a repeated step is the same
  // step.
  uint64_t seed = 0;
  int64_t step = 0;
  int64_t first = 0;  // place in the step's batch of the first example given
};

}  // namespace tweedie
