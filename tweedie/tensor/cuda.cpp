#include "tweedie/tensor/cuda.h"

#include <ATen/autocast_mode.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <memory>

namespace tweedie {
namespace {

/// No weights cast to bf16 are taken from outside a graph, which keeps only what is made inside
/// it, or left behind for others.
class WithoutAutocastCache {
 public:
  WithoutAutocastCache() : before_(at::autocast::is_autocast_cache_enabled()) {
    at::autocast::clear_cache();
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~WithoutAutocastCache() { at::autocast::set_autocast_cache_enabled(before_); }
  WithoutAutocastCache(const WithoutAutocastCache&) = delete;
  WithoutAutocastCache& operator=(const WithoutAutocastCache&) = delete;

 private:
  bool before_;
};

class CapturedWork {
 public:
  CapturedWork(const CudaWork& work, const std::vector<at::Tensor>& inputs) {
    for (const at::Tensor& input : inputs) inputs_.push_back(input.clone());
    const at::Device device = inputs[0].device();
    const c10::cuda::CUDAGuard on(device);
    const WithoutAutocastCache uncached;
    const auto caller = c10::cuda::getCurrentCUDAStream(device.index());
    caller.synchronize();  // the graph's stream must see the inputs and the weights
    const c10::cuda::CUDAStream side =
        c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index());
    const c10::cuda::CUDAStreamGuard guard(side);
    work(inputs_);  // libraries choose their algorithms and take their memory outside the graph
    side.synchronize();
    graph_.capture_begin();
    output_ = work(inputs_);
    graph_.capture_end();
  }

  at::Tensor replay(const std::vector<at::Tensor>& inputs) {
    const c10::cuda::CUDAGuard on(output_.device());
    for (size_t i = 0; i < inputs.size(); ++i) inputs_[i].copy_(inputs[i]);
    graph_.replay();
    return output_.clone();
  }

 private:
  at::cuda::CUDAGraph graph_;
  std::vector<at::Tensor> inputs_;
  at::Tensor output_;
};

}  // namespace

const kernels::cuda::Table* cuda_kernels() { return &kernels::cuda::table; }

kernels::cuda::Stream cuda_stream(at::Device device) {
  return c10::cuda::getCurrentCUDAStream(device.index()).stream();
}

CudaWork captured(const CudaWork& work, const std::vector<at::Tensor>& inputs) {
  const auto graph = std::make_shared<CapturedWork>(work, inputs);
  return [graph](const std::vector<at::Tensor>& values) { return graph->replay(values); };
}

}  // namespace tweedie
