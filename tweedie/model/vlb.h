// The variational bound on -log p(x_0), term by term.
#pragma once

#include <functional>
#include <vector>

#include "tweedie/model/sampler.h"

namespace tweedie {

/// Variance of the reverse kernel p(x_s | x_t): the posterior's `var` (beta tilde), its `var_large`
/// (beta), a network's mix of the two, or the variance that matches the data's second moment (Bao
/// et al. 2022, arXiv:2201.06503, eq. 7).
enum class Variance { small, large, learned, analytic };

/// Mean over dimensions of Var(x_0 | x_t), what Variance::analytic adds to the posterior's own: var
/// + c_x0^2 x0_variance(t).
using X0Variance = std::function<double(const Level& t)>;

/// log p(x_0 | x_t) at the first noisy level: nats per example [B].
using Decoder =
    std::function<Tensor(const Prediction&, const Tensor& x_t, const Level&, const Tensor& x0)>;

/// A normal around the predicted x0 integrated over each of `levels` bins by the exact erf, the
/// edge bins open.  Ho et al. 2020 (arXiv:2006.11239), eq. 13.  Its variance is `variance`, or with
/// learned variances a mix between it and that of q(x_t | x_0).
Decoder discretised_gaussian_decoder(int64_t levels, double variance, bool learned = false);
/// Softmax over the levels with logits log N(x_t; alpha k, sigma^2).  Kingma et al. 2021
/// (arXiv:2107.00630), eq. 8.
Decoder softmax_decoder(int64_t levels);
constexpr int64_t kMostSoftmaxLevels = 4096;
/// Density of a normal around the predicted x0, for continuous data.
Decoder gaussian_decoder(double variance, bool learned = false);

/// The variance that those decoders are customarily given: that of the posterior one step up, since
/// the last step's own is 0.
double decoder_variance(const Path& path);

/// KL(q(x_s | x_t, x_0) || p(x_s | x_t)): nats per example [B].
Tensor diffusion_term(const Prediction& prediction, const Tensor& x_t, Levels s, Levels t,
                      Variance variance, const Tensor& x0, const X0Variance& x0_variance = {});

/// Log variance of p(x_s | x_t), broadcastable to x_t.  Throws Error where a learned variance is
/// asked of a network without one.
Tensor reverse_log_variance(const Prediction& prediction, const Tensor& x_t, Levels s, Levels t,
                            Variance variance, const X0Variance& x0_variance = {});

/// Nats per example [B]; their sum bounds -log p(x_0).
struct VlbTerms {
  Tensor prior, diffusion, decoder;
  Tensor per_level;         // [B, K] the diffusion terms evaluated, unscaled, and
  std::vector<int64_t> at;  // [B * K] their places in the path (the index of the noisier level)
  int64_t evaluations = 0;  // of the network, per example
};

struct VlbOptions {
  Variance variance = Variance::small;
  X0Variance x0_variance;
  double prior_std = 1;
  int64_t terms = 0;  // 0: every level; K: an unbiased estimate from K levels, stratified, drawn
                      // for each example by `draw`
};

/// Uniform numbers in [0, 1), one for each example of the batch, for one of the K strata.
using DrawLevels = std::function<std::vector<double>(int64_t stratum)>;

/// `path` runs from noise to the first noisy level (a `clean` end is ignored).  The network must
/// see bare data: no clipping.
VlbTerms vlb(const Denoiser& denoiser, const Path& path, const Decoder& decoder, const Tensor& x0,
             const Condition& condition, const Noise& noise, const VlbOptions& options,
             const DrawLevels& draw = {});

}  // namespace tweedie
