#include "tweedie/jobs/device.h"

#include <ATen/Context.h>

#include "tweedie/base/error.h"
#include "tweedie/base/fields.h"

namespace tweedie {

namespace {

/// float32 is float32: cuDNN would round to 10 bits of fraction (TF32) where it may.
torch::Device cuda_device() {
  at::globalContext().setAllowTF32CuDNN(false);
  return torch::kCUDA;
}

}  // namespace

torch::Device device_named(const std::string& name) {
  if (name == "auto") return at::hasCUDA() ? cuda_device() : torch::kCPU;
  if (name == "cpu") return torch::kCPU;
  check(name == "cuda", "--device: unknown device '", name, "'",
        suggestion(name, {"auto", "cpu", "cuda"}));
  check(at::hasCUDA(), "--device cuda: this LibTorch sees no CUDA device; use --device cpu");
  return cuda_device();
}

torch::Device device_of(const Network& network) {
  const std::vector<Tensor> parameters = network.parameters();
  return parameters.empty() ? torch::kCPU : parameters[0].device();
}

}  // namespace tweedie
