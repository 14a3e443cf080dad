#include "tweedie/tensor/cuda.h"

#include <ATen/autocast_mode.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

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

std::vector<at::Tensor> copies_of(const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> copies;
  for (const at::Tensor& input : inputs) copies.push_back(input.clone());
  return copies;
}

/// A stream that sees what has been done so far.
c10::cuda::CUDAStream fresh_stream(at::Device device) {
  c10::cuda::getCurrentCUDAStream(device.index()).synchronize();
  return c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index());
}

/// While it lives, work goes to a stream of its own, as recording wants it.
class SideStream {
 public:
  explicit SideStream(at::Device device) : stream_(fresh_stream(device)), guard_(stream_) {}
  void synchronize() const { stream_.synchronize(); }

 private:
  WithoutAutocastCache uncached_;
  c10::cuda::CUDAStream stream_;
  c10::cuda::CUDAStreamGuard guard_;
};

/// Starts a graph that reads `from` and writes `to`, on new inputs.
at::Tensor replayed(at::cuda::CUDAGraph& graph, const std::vector<at::Tensor>& from,
                    const std::vector<at::Tensor>& inputs, const at::Tensor& to) {
  const c10::cuda::CUDAGuard on(to.device());
  for (size_t i = 0; i < inputs.size(); ++i) from[i].copy_(inputs[i]);
  graph.replay();
  return to.clone();
}

class CapturedWork {
 public:
  CapturedWork(const CudaWork& work, const std::vector<at::Tensor>& inputs)
      : inputs_(copies_of(inputs)) {
    const SideStream side(inputs[0].device());
    work(inputs_);  // libraries choose their algorithms and take their memory outside the graph
    side.synchronize();
    graph_.capture_begin();
    output_ = work(inputs_);
    graph_.capture_end();
  }

  at::Tensor replay(const std::vector<at::Tensor>& inputs) {
    return replayed(graph_, inputs_, inputs, output_);
  }

 private:
  at::cuda::CUDAGraph graph_;
  std::vector<at::Tensor> inputs_;
  at::Tensor output_;
};

class CapturedGradients : public torch::CustomClassHolder {
 public:
  CapturedGradients(const CudaWork& work, const std::vector<at::Tensor>& inputs,
                    const std::vector<at::Tensor>& parameters)
      : inputs_(copies_of(inputs)) {
    const SideStream side(inputs[0].device());
    {
      const at::Tensor y = work(inputs_);
      gradients(y, at::ones_like(y), parameters);
    }
    side.synchronize();
    c10::cuda::CUDACachingAllocator::emptyCache();  // a graph takes memory of its own
    forward_.capture_begin();
    const at::Tensor y = work(inputs_);
    forward_.capture_end();
    output_ = y.detach();
    dy_ = at::zeros_like(output_);
    side.synchronize();
    backward_.capture_begin(forward_.pool());
    add(gradients(y, dy_, parameters), parameters);
    backward_.capture_end();
  }

  at::Tensor forward(const std::vector<at::Tensor>& inputs) {
    return replayed(forward_, inputs_, inputs, output_);
  }

  void backward(const at::Tensor& dy) {
    const c10::cuda::CUDAGuard on(output_.device());
    dy_.copy_(dy);
    backward_.replay();
  }

 private:
  static std::vector<at::Tensor> gradients(const at::Tensor& y, const at::Tensor& dy,
                                           const std::vector<at::Tensor>& parameters) {
    return torch::autograd::grad({y}, parameters, {dy}, /*retain_graph=*/false,
                                 /*create_graph=*/false, /*allow_unused=*/true);
  }

  static void add(const std::vector<at::Tensor>& gradients,
                  const std::vector<at::Tensor>& parameters) {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> sums, terms;
    for (size_t i = 0; i < gradients.size(); ++i) {
      if (!gradients[i].defined()) continue;
      sums.push_back(parameters[i].grad());
      terms.push_back(gradients[i]);
    }
    at::_foreach_add_(sums, terms);
  }

  at::cuda::CUDAGraph forward_, backward_;
  std::vector<at::Tensor> inputs_;
  at::Tensor output_, dy_;
};

struct Replay : torch::autograd::Function<Replay> {
  struct Call {  // what autograd need not look at
    c10::intrusive_ptr<CapturedGradients> graphs;
    const std::vector<at::Tensor>& inputs;
  };
  /// `anchor`: a number that asks for a gradient, so that backward is called.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& /*anchor*/,
                            const Call& call) {
    context->saved_data["graphs"] = c10::IValue::make_capsule(call.graphs);
    return call.graphs->forward(call.inputs);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    c10::static_intrusive_pointer_cast<CapturedGradients>(context->saved_data["graphs"].toCapsule())
        ->backward(gradients[0]);
    return {{}, {}};
  }
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

CudaWork captured_with_gradients(const CudaWork& work, const std::vector<at::Tensor>& inputs,
                                 const std::vector<at::Tensor>& parameters) {
  const auto graphs = c10::make_intrusive<CapturedGradients>(work, inputs, parameters);
  const at::Tensor anchor = at::zeros({}, inputs[0].options()).requires_grad_(true);
  return [graphs, anchor](const std::vector<at::Tensor>& values) {
    return Replay::apply(anchor, Replay::Call{graphs, values});
  };
}

}  // namespace tweedie
