#include "tweedie/nets/embedding.h"

#include <cmath>
#include <numbers>

namespace tweedie {

Tensor positional_features(const Tensor& label, const PositionalOptions& options) {
  const int64_t half = options.channels / 2;
  const Tensor place = at::arange(half, at::TensorOptions().dtype(at::kDouble));
  const Tensor frequency = (place * (-std::log(10000.0) / (static_cast<double>(half) - options.shift))).exp();
  const Tensor angle = label.to(at::kDouble).unsqueeze(1) * frequency.to(label.device());  // [B, half]
  const Tensor first = options.cosine_first ? angle.cos() : angle.sin(), second = options.cosine_first ? angle.sin() : angle.cos();
  Tensor out = at::cat({first, second}, 1);
  if (options.channels % 2 == 1) out = at::constant_pad_nd(out, {0, 1});
  return out.to(label.scalar_type());
}

Tensor fourier_features(const Tensor& x, const std::vector<int64_t>& powers) {
  if (powers.empty()) return x;
  std::vector<Tensor> parts{x};
  for (const int64_t power : powers) {
    const Tensor angle = x * (std::ldexp(1.0, static_cast<int>(power)) * std::numbers::pi);
    parts.push_back(angle.sin());
    parts.push_back(angle.cos());
  }
  return at::cat(parts, 1);
}

}  // namespace tweedie
