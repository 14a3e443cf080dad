#include "tweedie/jobs/precision.h"

#include <ATen/autocast_mode.h>
#include <torch/version.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace tweedie {

bool cpu_has_amx() {
#if defined(__x86_64__)
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;  // CPUID leaf 7, EDX
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kAmxBf16) && (d & kAmxTile);
#else
  return false;
#endif
}

std::string resolve_precision(const std::string& precision, torch::Device device) {
  if (precision != "auto") return precision;
  return device.is_cuda() || cpu_has_amx() ? "bf16" : "fp32";
}

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
