// The variational bound on -log p(x_0), term by term.
#pragma once

#include "tweedie/model/sampler.h"

namespace tweedie {

enum class Variance { small, large, learned };

/// log p(x_0 | x_t) at the first noisy level: nats per example [B].
using Decoder = std::function<Tensor(const Prediction&, const Tensor& x_t, const Level&, const Tensor& x0)>;

/// Nats per example [B]; their sum bounds -log p(x_0).
struct VlbTerms {
  Tensor prior, diffusion, decoder;
};

}  // namespace tweedie
