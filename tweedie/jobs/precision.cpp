#include "tweedie/jobs/precision.h"

#include <ATen/autocast_mode.h>
#include <torch/version.h>

#include <map>

#include "tweedie/kernels/kernels.h"

namespace tweedie {

std::string resolve_precision(const std::string& precision, torch::Device device) {
  if (precision != "auto") return precision;
  return device.is_cuda() || kernels::table().images->fast ? "bf16" : "fp32";
}

std::vector<KernelTable> kernel_tables() {
  const std::map<std::string, std::string> summaries = {
      {"plain", "for any CPU: what the others are checked against"},
      {"avx2", "eight floats at a time"},
      {"avx512", "sixteen floats at a time"},
      {"amx_bf16", "AVX-512, and matrix products on tiles: U-Nets and MLPs in bf16"}};
  std::vector<KernelTable> tables;
  for (const kernels::Table* table : kernels::usable_tables())
    tables.push_back({table->name, summaries.at(table->name), table == &kernels::table()});
  return tables;
}

std::string tiles_refused() { return kernels::amx_refusal(); }

PrecisionGuard::PrecisionGuard(const std::string& precision, torch::Device device)
    : device_(device), active_(precision == "bf16") {
  if (active_) enable(true);
}

PrecisionGuard::~PrecisionGuard() {
  if (!active_) return;
  at::autocast::clear_cache();
  enable(false);
}

void PrecisionGuard::enable(bool on) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
  at::autocast::set_autocast_dtype(device_.type(), at::kBFloat16);
  at::autocast::set_autocast_enabled(device_.type(), on);
#else
  if (device_.is_cuda()) {
    at::autocast::set_autocast_gpu_dtype(at::kBFloat16);
    at::autocast::set_enabled(on);
  } else {
    at::autocast::set_autocast_cpu_dtype(at::kBFloat16);
    at::autocast::set_cpu_enabled(on);
  }
#endif
}

}  // namespace tweedie
