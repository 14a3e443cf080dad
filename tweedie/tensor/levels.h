// Levels meet tensors: per-example coefficients, and the views of a prediction.
#pragma once

#include <functional>

#include <ATen/ATen.h>

#include "tweedie/process/level.h"

namespace tweedie {

/// One level for each example, or one shared by the batch.
using Levels = at::ArrayRef<Level>;

/// `value` of each level as [B, 1, ...] (or [1, 1, ...] for a shared level), in like's type and
/// device, ready to multiply it.
at::Tensor per_example(Levels levels, const std::function<double(const Level&)>& value,
                       const at::Tensor& like);

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
