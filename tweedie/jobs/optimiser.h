// Adam and AdamW with weight averages, in flat buffers: one pass over memory a step.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tweedie/jobs/config.h"
#include "tweedie/model/network.h"

namespace tweedie {

/// Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1; Loshchilov & Hutter 2019 (arXiv:1711.05101),
/// algorithm 2. The network's parameters and their gradients become views of this object's flat
/// float32 buffers. Results do not depend on the number of threads.
class Optimiser {
 public:
  Optimiser(Network& network, const TrainConfig& config);

  void zero_gradients();
  /// Norm of the whole gradient, accumulated in double; NaN or infinite if any element is.
  double gradient_norm() const;
  /// One update with the gradient multiplied by `gradient_scale` (clipping), then every average.
  /// `step` counts from 1.
  void step(int64_t step, double learning_rate, double gradient_scale);

  /// Whether every weight is.
  bool is_finite() const;

  /// "weights.NAME", "ema.RATE.NAME" (RATE as JSON prints it), "adam.m.NAME", "adam.v.NAME": views,
  /// not copies.
  std::map<std::string, Tensor> tensors() const;
  /// Copies the tensors of a checkpoint in.  Throws Error on a missing name or another shape.
  void load(const std::map<std::string, Tensor>& tensors);
  /// Exchanges the network's weights with the average of `config.ema[index]`; calling it again
  /// exchanges them back.
  void swap_average(size_t index);

 private:
  struct Slot {
    std::string name;
    int64_t offset, count;
    Tensor parameter;
  };
  Tensor view(const Tensor& flat, const Slot& slot) const;
  /// Tells whoever keeps something made of the weights (packed for a kernel) to make it again.
  void weights_changed();

  TrainConfig config_;
  bool channels_last_;
  std::vector<Slot> slots_;
  /// Parameters that need no gradient are neither moved nor decayed.
  void keep_frozen();
  void restore_frozen();

  std::map<size_t, Tensor> frozen_;  // their values, by slot
  Tensor weights_, gradients_, first_moment_, second_moment_;
  std::vector<Tensor> averages_;
};

}  // namespace tweedie
