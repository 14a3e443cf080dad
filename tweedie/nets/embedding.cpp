#include "tweedie/nets/embedding.h"

#include <cmath>
#include <numbers>

#include "tweedie/base/error.h"

namespace tweedie {

Tensor positional_features(const Tensor& label, const PositionalOptions& options) {
  const int64_t half = options.channels / 2;
  const Tensor place =
      at::arange(half, at::TensorOptions().dtype(at::kDouble).device(label.device()));
  const Tensor frequency =
      (place * (-std::log(10000.0) / (static_cast<double>(half) - options.shift))).exp();
  const Tensor angle = label.to(at::kDouble).unsqueeze(1) * frequency;  // [B, half]
  const Tensor first = options.cosine_first ? angle.cos() : angle.sin(),
               second = options.cosine_first ? angle.sin() : angle.cos();
  Tensor out = at::cat({first, second}, 1);
  if (options.channels % 2 == 1) out = at::constant_pad_nd(out, {0, 1});
  return out.to(label.scalar_type());
}

Tensor grid_features(int64_t channels, int64_t rows, int64_t columns) {
  const PositionalOptions half{.channels = channels / 2, .cosine_first = false};
  const Tensor column = at::arange(columns, at::kDouble).repeat({rows}),
               row = at::arange(rows, at::kDouble).repeat_interleave(columns);
  return at::cat({positional_features(column, half), positional_features(row, half)}, 1);
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

Tensor class_rows(const Tensor& label, int64_t classes, bool null_class, const Tensor& x,
                  const std::string& network) {
  check(label.defined() || null_class, network, ": this network must be told a class, 0 to ",
        classes - 1, "; it has none for 'no class'");
  if (!label.defined())
    return at::full({x.size(0)}, classes, at::TensorOptions().dtype(at::kLong).device(x.device()));
  check(label.numel() == x.size(0), network, ": got ", label.numel(), " class labels for ",
        x.size(0), " examples");
  // On CUDA, whose embeddings check for themselves, asking would wait for all that is queued.
  if (label.numel() == 0 || label.is_cuda()) return label;
  const int64_t least = label.min().item<int64_t>(), most = label.max().item<int64_t>();
  check(least >= 0 && most < classes + (null_class ? 1 : 0), network, ": there is no class ",
        least < 0 ? least : most, "; expected 0 to ", classes - 1,
        null_class ? ", or " + std::to_string(classes) + " for none" : "");
  return label;
}

void check_fourier_powers(const std::vector<int64_t>& powers) {
  for (const int64_t power : powers)
    check(power >= -10 && power <= 20, "model.fourier_features: expected powers in -10..20, got ",
          power);
}

}  // namespace tweedie
