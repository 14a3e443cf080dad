// What training computes in.
#pragma once

#include <string>
#include <vector>

#include <torch/types.h>

namespace tweedie {

/// "fp32" or "bf16" for "auto": bf16 with fp32 master weights on CUDA and where the kernels
/// in use have tiles (AMX), the one case on a CPU where bf16 was measured faster.
std::string resolve_precision(const std::string& precision, torch::Device device);

struct KernelTable {
  std::string name, summary;
  bool in_use;
};

/// The tables of kernels that this CPU can run.
std::vector<KernelTable> kernel_tables();

/// Why this CPU's tiles cannot be used, or "".
std::string tiles_refused();

/// While it lives and `precision` is "bf16", convolutions and matrix products run in bf16; weights
/// stay float32.
class PrecisionGuard {
 public:
  PrecisionGuard(const std::string& precision, torch::Device device);
  ~PrecisionGuard();
  PrecisionGuard(const PrecisionGuard&) = delete;
  PrecisionGuard& operator=(const PrecisionGuard&) = delete;

 private:
  void enable(bool on);
  torch::Device device_;
  bool active_;
};

}  // namespace tweedie
