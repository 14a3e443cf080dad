// The variational bound on -log p(x_0), term by term.
#pragma once

#include <vector>

#include "tweedie/model/sampler.h"

namespace tweedie {

/// Variance of the reverse kernel p(x_s | x_t): the posterior's `var` (beta tilde), its `var_large`
/// (beta), or a network's mix.
enum class Variance { small, large, learned };

/// log p(x_0 | x_t) at the first noisy level: nats per example [B].
using Decoder =
    std::function<Tensor(const Prediction&, const Tensor& x_t, const Level&, const Tensor& x0)>;

/// Ho et al. 2020 (arXiv:2006.11239), eq. 13: a normal integrated over each of `levels` bins by the
/// exact erf, edge bins open. Its mean is the posterior mean of x_0 itself (x0 prediction) and its
/// variance the reverse kernel's from `level` to clean data.
Decoder discretised_gaussian_decoder(int64_t levels, Variance variance);
/// Kingma et al. 2021 (arXiv:2107.00630), eq. 12 and appendix B: softmax over the levels with
/// logits -(x_t - alpha k)^2 / (2 sigma^2).
Decoder softmax_decoder(int64_t levels);
/// Density of N(x0 prediction, variance) for continuous data.
Decoder gaussian_decoder(Variance variance);

/// Nats per example [B]; their sum bounds -log p(x_0).
struct VlbTerms {
  Tensor prior, diffusion, decoder;
  Tensor per_level;         // [B, K] the diffusion terms evaluated, unscaled, and
  std::vector<int64_t> at;  // [B * K] their places in the path (the index of the noisier level)
  int64_t evaluations = 0;  // of the network, per example
};

struct VlbOptions {
  Variance variance = Variance::small;
  double prior_std = 1;
  int64_t terms = 0;  // 0: every level; K: an unbiased estimate from K levels, stratified, drawn
                      // for each example by `draw`
};

/// Uniform numbers in [0, 1) [B] for the K-th stratum, used only when `terms` > 0.
using DrawLevels = std::function<Tensor(int64_t stratum)>;

/// `path` runs from noise to the first noisy level (a `clean` end is ignored).  The network must
/// see bare data: no clipping. Throws Error where a learned variance is asked of a network without
/// one.
VlbTerms vlb(const Denoiser& denoiser, const Path& path, const Decoder& decoder, const Tensor& x0,
             const Condition& condition, const Noise& noise, const VlbOptions& options,
             const DrawLevels& draw = {});

}  // namespace tweedie
