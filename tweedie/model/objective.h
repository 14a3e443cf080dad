// Training losses.
#pragma once

#include "tweedie/model/batch.h"
#include "tweedie/model/denoiser.h"
#include "tweedie/model/vlb.h"
#include "tweedie/process/weighting.h"

namespace tweedie {

/// One loss for each example [B]: weight * mean over dimensions of the squared error of the network
/// against its own target, in units of the eps error unless the objective says otherwise.  `levels`
/// [B] and `eps` [B, ...] are drawn by the caller.  A second half of the network's output (learned
/// variance) gets no gradient.
Tensor denoising_loss(Network& network, const Parameterisation& parameterisation,
                      const Objective& objective, const Batch& batch, Levels levels,
                      const Tensor& eps);

/// Loss of a network with learned variance: denoising_loss + objective.vlb_weight * the bound's
/// term of each level, in nats for each dimension, times the number of levels T, whose gradient
/// reaches the variance only.  Nichol & Dhariwal 2021 (arXiv:2102.09672), eq. 16.  `chain` is the
/// whole path noise -> data; `places` [B] are indices of the noisier level of each example in it.
Tensor hybrid_loss(Network& network, const Parameterisation& parameterisation,
                   const Objective& objective, const Batch& batch, const Path& chain,
                   at::ArrayRef<int64_t> places, const Tensor& eps, const Decoder& decoder);

/// The whole bound as loss: T times its term at each example's level, in nats for each dimension
/// [B], with gradients everywhere.
Tensor vlb_loss(Network& network, const Parameterisation& parameterisation, const Batch& batch,
                const Path& chain, at::ArrayRef<int64_t> places, const Tensor& eps,
                Variance variance, const Decoder& decoder);

}  // namespace tweedie
