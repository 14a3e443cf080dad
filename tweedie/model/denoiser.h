// Denoisers: (x_t, level, condition) -> E[x_0 | x_t], and what is made of them.
#pragma once

#include <functional>
#include <limits>
#include <memory>

#include <ATen/ATen.h>

#include "tweedie/model/network.h"
#include "tweedie/process/parameterisation.h"
#include "tweedie/tensor/levels.h"

namespace tweedie {

struct Prediction {
  Tensor x0;
  Tensor var_mix;  // in [0, 1] between log var and log var_large of the posterior; undefined if
                   // variances are fixed
};

using Denoiser = std::function<Prediction(const Tensor& x_t, Levels, const Condition&)>;

/// What a network says before it is read as a prediction.
struct NetworkOutput {
  Tensor value;                   // F, [B, C, ...]
  Tensor variance;                // its second half, undefined where variances are fixed
  std::vector<Scaling> scalings;  // of each level
};

/// F(c_in x_t, c_noise).  Throws Error where the network's output has the wrong shape.
NetworkOutput run_network(Network& network, const Parameterisation& parameterisation,
                          const Tensor& x_t, Levels levels, const Condition& condition);
/// x0 = c_skip x_t + c_out F.
Prediction prediction_of(const NetworkOutput& output, const Tensor& x_t, Levels levels);

Denoiser make_denoiser(std::shared_ptr<Network> network, Parameterisation parameterisation);
/// uncond + weight (cond - uncond); weight 1 is the conditional model, 0 the unconditional, both
/// bitwise.  Ho & Salimans 2022 (arXiv:2207.12598), eq. 6, whose w is our weight - 1.
Denoiser guided(Denoiser denoiser, double weight, Condition null);
/// x0 clamped to [low, high].
Denoiser clipped(Denoiser denoiser, double low = -1, double high = 1);
/// Dynamic thresholding: x0 clamped to [-s, s] and divided by s, where s of each example is the
/// `share` quantile of its |x0|, at least 1 and at most `most`.  Saharia et al. 2022
/// (arXiv:2205.11487), section 2.3.
Denoiser thresholded(Denoiser denoiser, double share = 0.995,
                     double most = std::numeric_limits<double>::infinity());

}  // namespace tweedie
