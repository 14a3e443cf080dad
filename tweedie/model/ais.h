// log p(x) by annealed importance sampling: paths of noise weighed by Jarzynski's equality.
#pragma once

#include <string>

#include "tweedie/model/vlb.h"

namespace tweedie {

struct AisOptions {
  Variance variance = Variance::large;  // with `small` the weights' variance does not vanish
  X0Variance x0_variance = {};          // for Variance::analytic
  double prior_std = 1;
  int64_t paths = 1;  // K, for each example
};

struct AisWeights {
  Tensor log_weights;       // [B, K], nats, doubles on the CPU
  int64_t evaluations = 0;  // of the network, per example
};

/// The weights of K forward paths x_0 -> x_1 .. x_T of each example, one step of the forward
/// process after another:
///   log w = log p(x_T) + sum over t of [log p(x_{t-1} | x_t) - log q(x_t | x_{t-1})],
/// whose last p(x_0 | x_1) is the decoder's.  E[w] = p(x_0) (a probability with a discretised
/// decoder, a density with a gaussian one), so E[log w] bounds log p(x_0) from below, and is the
/// variational bound.  Sohl-Dickstein et al. 2015 (arXiv:1503.03585), eq. 9-11; Neal 2001.
/// `path` runs from noise to the first noisy level (a `clean` end is ignored).  `noise` is asked
/// for [B * K, ...], the K paths of an example side by side, from the first noisy level on.  Throws
/// Error where Variance::learned or analytic lacks what it needs.
AisWeights ais(const Denoiser& denoiser, const Path& path, const Decoder& decoder, const Tensor& x0,
               const Condition& condition, const Noise& noise, const AisOptions& options);

/// log of the mean of k weights, averaged over the disjoint groups of k among the K weights [B, K]
/// of each example (what is left over is not used): what k paths give on average [B].
/// Burda et al. 2016 (arXiv:1509.00519), eq. 8.  Throws Error unless k is in 1..K.
Tensor importance_bound(const Tensor& log_weights, int64_t k);

/// What the weights of each example say [B], nats.
struct AisEstimate {
  Tensor mean;             // of log w: a lower bound on log p
  Tensor iwae;             // importance_bound of all of them: a tighter one
  Tensor variance;         // of log w; NaN for one path
  Tensor effective_paths;  // (sum of w)^2 / sum of w^2, in 1..K
};
AisEstimate ais_estimate(const Tensor& log_weights);

/// What would tighten the bound, in a sentence: more levels, more paths, or another variance.
std::string ais_advice(const AisEstimate& estimate, int64_t paths, Variance variance);

}  // namespace tweedie
