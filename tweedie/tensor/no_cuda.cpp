#include "tweedie/tensor/cuda.h"

namespace tweedie {

const kernels::cuda::Table* cuda_kernels() { return nullptr; }

kernels::cuda::Stream cuda_stream(at::Device) { return nullptr; }

CudaWork captured(const CudaWork& work, const std::vector<at::Tensor>&) { return work; }

CudaWork captured_with_gradients(const CudaWork& work, const std::vector<at::Tensor>&,
                                 const std::vector<at::Tensor>&) {
  return work;
}

}  // namespace tweedie
