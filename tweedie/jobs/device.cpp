#include "tweedie/jobs/device.h"

#include <ATen/Context.h>

#include "tweedie/base/error.h"
#include "tweedie/base/fields.h"

namespace tweedie {

torch::Device device_named(const std::string& name) {
  if (name == "auto") return at::hasCUDA() ? torch::kCUDA : torch::kCPU;
  if (name == "cpu") return torch::kCPU;
  check(name == "cuda", "--device: unknown device '", name, "'",
        suggestion(name, {"auto", "cpu", "cuda"}));
  check(at::hasCUDA(), "--device cuda: this LibTorch sees no CUDA device; use --device cpu");
  return torch::kCUDA;
}

torch::Device device_of(const Network& network) {
  const std::vector<Tensor> parameters = network.parameters();
  return parameters.empty() ? torch::kCPU : parameters[0].device();
}

}  // namespace tweedie
