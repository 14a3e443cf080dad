// improved-diffusion's discretised likelihood, which approximates the normal CDF by a tanh.
#pragma once

#include "tweedie/model/vlb.h"

namespace tweedie {

/// The name of the compatibility option under which it is used.
inline constexpr const char* kTanhCdf = "improved-diffusion: tanh normal CDF";

/// 1/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
Tensor tanh_normal_cdf(const Tensor& x);
/// Log probability of the bin of width 2/255 around x, the bins beyond +-0.999 open, no probability
/// below 1e-12: natural log, elementwise.
Tensor tanh_log_likelihood(const Tensor& x, const Tensor& means, const Tensor& log_std);
/// As our discretised_gaussian_decoder(256, variance, learned) with that likelihood.
Decoder tanh_decoder(double variance, bool learned);

}  // namespace tweedie
