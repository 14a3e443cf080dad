// Training losses.
#pragma once

#include "tweedie/model/batch.h"
#include "tweedie/model/denoiser.h"
#include "tweedie/process/weighting.h"

namespace tweedie {

/// One loss for each example [B]: weight * mean over dimensions of the squared error of the network
/// against its own target, in units of the eps error.  `levels` [B] and `eps` [B, ...] are drawn by
/// the caller.
Tensor denoising_loss(Network& network, const Parameterisation& parameterisation,
                      const Objective& objective, const Batch& batch, Levels levels,
                      const Tensor& eps);

}  // namespace tweedie
