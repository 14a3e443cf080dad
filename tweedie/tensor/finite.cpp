#include "tweedie/tensor/finite.h"

#include <atomic>
#include <cmath>

#include "tweedie/tensor/parallel.h"

namespace tweedie {
namespace {

/// 0 times a number is 0, of anything else NaN.  Sixteen sums side by side are one or a few
/// registers.
bool all_finite(const float* x, int64_t count) {
  constexpr int64_t kWide = 16;
  float sums[kWide] = {};
  int64_t i = 0;
  for (; i + kWide <= count; i += kWide)
    for (int64_t j = 0; j < kWide; ++j) sums[j] += x[i + j] * 0.0F;
  for (; i < count; ++i) sums[0] += x[i] * 0.0F;
  float sum = 0;
  for (const float part : sums) sum += part;
  return sum == 0;
}

}  // namespace

bool all_finite(const at::Tensor& x) {
  if (x.numel() == 0) return true;
  if (!x.is_cpu() || x.scalar_type() != at::kFloat || !x.is_contiguous()) {
    const auto [low, high] = at::aminmax(x);  // NaN where any element is
    return std::isfinite(low.item<double>()) && std::isfinite(high.item<double>());
  }
  constexpr int64_t kPart = 1 << 16;
  const float* values = x.data_ptr<float>();
  std::atomic<bool> finite = true;
  in_parallel((x.numel() + kPart - 1) / kPart, [&](int64_t part) {
    const int64_t begin = part * kPart;
    if (!all_finite(values + begin, std::min(kPart, x.numel() - begin))) finite = false;
  });
  return finite;
}

}  // namespace tweedie
