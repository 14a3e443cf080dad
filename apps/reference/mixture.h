// The data distribution whose denoiser is known in closed form: a mixture of isotropic Gaussians.
#pragma once

#include "pack.h"
#include "tweedie/tensor/levels.h"

namespace tweedie::reference {

/// p(x_0) = sum_k w_k N(mu_k, s_k^2 I).
struct Mixture {
  Tensor log_weights, means, stds;  // [K], [K, D], [K], doubles
  std::vector<int64_t> shape;       // of a sample

  /// E[x_0 | x_t], x [B, shape...].
  Tensor x0(const Tensor& x, const Level& level) const;
  /// Gradient of log p(component | x_t), component [B].
  Tensor component_score(const Tensor& x, const Level& level, const Tensor& component) const;

 private:
  struct Terms {
    Tensor away, variance, share;  // alpha mu_k - x [B, K, D], v_k [K], r_k [B, K]
  };
  Terms terms(const Tensor& x, const Level& level) const;
};

/// The mixture of this name.  Throws Error if the pack has none.
Mixture mixture_of(const Case& the_case, const std::string& name);

}  // namespace tweedie::reference
