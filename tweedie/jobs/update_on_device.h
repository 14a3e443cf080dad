// The optimiser's passes over flat float32 buffers that are not on the CPU: the twins for CUDA, or
// LibTorch's operations where the build has none.
#pragma once

#include <vector>

#include <torch/types.h>

#include "tweedie/kernels/kernels.h"

namespace tweedie {

using torch::Tensor;

struct FlatBuffers {
  Tensor weights, gradients, first_moment, second_moment;
  std::vector<Tensor> averages;
};

/// kernels::Table::adam; `keeps` of each average.
void adam_on_device(const kernels::AdamStep& step, const FlatBuffers& buffers,
                    const std::vector<float>& keeps);

/// Accumulated in double.
double sum_of_squares_on_device(const Tensor& x);

}  // namespace tweedie
