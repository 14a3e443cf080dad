// Weights of convolutions as the kernels on images read them.
#pragma once

#include <torch/types.h>

#include <mutex>
#include <vector>

#include "tweedie/kernels/images.h"
#include "tweedie/nets/float_conv.h"

namespace tweedie {

using torch::Tensor;

/// n, or the next multiple of 32.
int64_t filled_channels(int64_t n);

/// [K, C, h, w] or [K, C] as [K, taps, C]; a view where it is kept channels last.
Tensor by_taps(const Tensor& weight);

/// Where tensors are in memory and how often they were changed: the same values as long as it is
/// the same.
using WeightVersions = std::vector<std::pair<const void*, uint32_t>>;
WeightVersions weight_versions(const std::vector<Tensor>& weights);

/// Weights of a convolution as the kernels read them, packed again when they have changed: when
/// they are elsewhere in memory or their version counter moved.
class PackedWeight {
 public:
  /// `weights` [K, C, h, w] or [K, C] each, one above the other along K; filled up with zeros to
  /// multiples of 32.  `copies`: how often the inputs are repeated.
  explicit PackedWeight(kernels::ConvKind kind, int64_t copies = 1)
      : kind_(kind), copies_(copies) {}

  Tensor forward(const std::vector<Tensor>& weights) { return packed(weights, forward_, false); }
  Tensor backward(const std::vector<Tensor>& weights) { return packed(weights, backward_, true); }
  /// As oneDNN reads the inputs from `first` on.
  Tensor blocked(const std::vector<Tensor>& weights, const FloatConv& conv, int64_t first);
  kernels::ConvKind kind() const { return kind_; }
  int64_t copies() const { return copies_; }

 private:
  struct Entry {
    WeightVersions of;
    int64_t layout = 0;  // of floats
    Tensor values;
    /// Room for `size` values.  A thread may still be reading the old ones, unless nobody else
    /// holds them.
    void renew(int64_t size, at::ScalarType type);
  };
  Tensor packed(const std::vector<Tensor>& weights, Entry& entry, bool backward);

  kernels::ConvKind kind_;
  int64_t copies_;
  std::mutex mutex_;
  Entry forward_, backward_, floats_[2][2];  // of floats: forward and backward, two inputs
};

}  // namespace tweedie
