// A noise schedule that is learned with the network, and the loss that learns it.  Kingma et al.
// 2021 (arXiv:2107.00630): the bound depends on a schedule's ends alone, so that its interior is
// free to make the estimate of the bound less noisy.
#pragma once

#include <vector>

#include <torch/nn/module.h>

#include "tweedie/model/batch.h"
#include "tweedie/process/schedule.h"

namespace tweedie {

/// gamma(t) = -log_snr on t in [0, 1], rising whatever its parameters: their appendix H, l1(t) +
/// l3(sigmoid(l2(l1(t)))) with positive weights (here exponentials), scaled to its ends (eq. 59).
class MonotoneGamma : public torch::nn::Module {
 public:
  /// Begins as a nearly straight line from gamma_min to gamma_max, which stay the marks of `label`.
  MonotoneGamma(double gamma_min, double gamma_max);

  /// Where gamma(t) lies between the ends, from 0 to 1, and its derivative: doubles [B] for t [B].
  struct Interior {
    Tensor share, rate;
  };
  Interior interior(const Tensor& t) const;
  struct Ends {
    Tensor gamma_min, range;  // doubles [1]
  };
  Ends ends() const;

  /// What the network is told of a gamma: 0 at the first gamma_min, 1000 at the first gamma_max.
  Tensor label(const Tensor& gamma) const;
  double label(double gamma) const;

  /// gamma and its derivative at t = i / (size - 1): doubles [2, size].
  Tensor table(int64_t size = 2049) const;

 private:
  double first_gamma_, first_range_;
  Tensor slope_, offset_;                     // l1, [1]
  Tensor hidden_slopes_, hidden_offsets_;     // l2, [H]
  Tensor weights_;                            // l3, [H]
  Tensor gamma_min_shift_, log_range_shift_;  // of the ends, [1]; zero is where they began
};

/// The schedule of a table of MonotoneGamma's, for samplers and evaluators.
Schedule frozen_schedule(const Tensor& table);

/// The whole bound in nats for each dimension [B] at times t [B] (doubles), for a network that
/// predicts eps: 1/2 gamma'(t) |eps - eps_hat|^2 (their eq. 17), the prior's term, and the
/// decoder's: the softmax of `levels` values (eq. 8) of the first example, or with levels = 0 the
/// density of x_0 given z_0 under a flat prior.  Its gradient in the network and in the ends of
/// gamma is the bound's.  That in gamma's interior, where the bound is flat, is the gradient of the
/// mean square of the first term over that of (range / 2)^2, so of its variance: their appendix
/// I.2, from the same backward pass.
Tensor learned_schedule_loss(Network& network, const MonotoneGamma& gamma, const Batch& batch,
                             const Tensor& t, const Tensor& eps, int64_t levels);

}  // namespace tweedie
