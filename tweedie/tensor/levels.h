// Levels meet tensors: per-example coefficients, and the views of a prediction.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "tweedie/process/level.h"

namespace tweedie {

/// One level for each example, or one shared by the batch.
using Levels = at::ArrayRef<Level>;

/// value(0), value(1), ... as a tensor of like's type and on its device, without gradient.
template <class Value>
at::Tensor numbers_like(at::IntArrayRef sizes, const Value& value, const at::Tensor& like) {
  // Written as floats where that is what is wanted: a conversion costs as much as all the rest.
  const bool floats = like.device().is_cpu() && like.scalar_type() == at::kFloat;
  const at::Tensor out = at::empty(sizes, floats ? at::kFloat : at::kDouble);
  const auto fill = [&]<class T>(T* data) {
    const auto count = static_cast<size_t>(out.numel());
    for (size_t i = 0; i < count; ++i) data[i] = static_cast<T>(value(i));
  };
  if (floats) {
    fill(out.data_ptr<float>());
    return out;
  }
  fill(out.data_ptr<double>());
  return out.to(like.options());
}

/// [B, 1, ...] for as many levels, or [1, 1, ...] for a shared one, as it multiplies `like`.
std::vector<int64_t> per_example_sizes(Levels levels, const at::Tensor& like);

/// `value` of each level as [B, 1, ...] (or [1, 1, ...] for a shared level), in like's type and
/// device, ready to multiply it.
template <class Value>
at::Tensor per_example(Levels levels, const Value& value, const at::Tensor& like) {
  return numbers_like(
      per_example_sizes(levels, like), [&](size_t i) { return value(levels[i]); }, like);
}

/// Over everything but the batch: [B, ...] to [B].
at::Tensor sum_over_dims(const at::Tensor& x);

/// x_t = alpha x0 + sigma eps.
at::Tensor diffuse(const at::Tensor& x0, Levels levels, const at::Tensor& eps);

// Views of E[x0 | x_t]: eps = (x_t - alpha x0) / sigma, v = alpha eps - sigma x0, score = -eps /
// sigma, velocity dx/dt = d_alpha x0 + d_sigma eps.
at::Tensor eps_from_x0(const at::Tensor& x_t, const at::Tensor& x0, Levels levels);
at::Tensor v_from_x0(const at::Tensor& x_t, const at::Tensor& x0, Levels levels);
at::Tensor score_from_x0(const at::Tensor& x_t, const at::Tensor& x0, Levels levels);
at::Tensor velocity_from_x0(const at::Tensor& x_t, const at::Tensor& x0, Levels levels);

}  // namespace tweedie
