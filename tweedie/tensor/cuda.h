// What tensors need of CUDA beyond LibTorch's operations.  cuda.cpp is compiled where LibTorch and
// the compiler have CUDA, no_cuda.cpp in its place where not.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

#include "tweedie/kernels/cuda.h"

namespace tweedie {

/// The twins for CUDA; null in a build without them.
const kernels::cuda::Table* cuda_kernels();

/// The stream that LibTorch puts its work for this device on, from this thread.
kernels::cuda::Stream cuda_stream(at::Device device);

using CudaWork = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;

/// `work` on inputs of these sizes and types, recorded as one CUDA graph: a call copies its inputs
/// to where the recorded kernels read, starts them all at once and returns a copy of their output.
/// `work` must launch the same kernels whatever its inputs hold, read nothing back to the CPU, copy
/// nothing from it and need no gradients.  In a build without CUDA, `work` itself.
CudaWork captured(const CudaWork& work, const std::vector<at::Tensor>& inputs);

/// The same with gradients, as two graphs: backward from a result adds to the gradients of
/// `parameters`, which are defined and stay where they are in memory.  Inputs get none.
CudaWork captured_with_gradients(const CudaWork& work, const std::vector<at::Tensor>& inputs,
                                 const std::vector<at::Tensor>& parameters);

}  // namespace tweedie
