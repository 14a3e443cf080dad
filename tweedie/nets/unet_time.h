// What the U-Net makes of the time it is told: features, then two layers.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>

#include "tweedie/nets/unet_options.h"

namespace tweedie {

using torch::Tensor;

struct TimeEmbeddingImpl : torch::nn::Module {
  TimeEmbeddingImpl(int64_t in, int64_t out);
  Tensor forward(const Tensor& x) { return linear_2(at::silu(linear_1(x))); }

  torch::nn::Linear linear_1{nullptr}, linear_2{nullptr};
};
TORCH_MODULE(TimeEmbedding);

/// Features [B, time_features] of what the network is told of the level, [B].  `weight`: random
/// frequencies, which are not trained, or learned rows; undefined for positional features.
struct TimeFeaturesImpl : torch::nn::Module {
  explicit TimeFeaturesImpl(const UnetOptions& o);
  /// Throws Error on a step beyond the learned rows.
  Tensor forward(const Tensor& label);

  UnetOptions options;
  Tensor weight;
};
TORCH_MODULE(TimeFeatures);

}  // namespace tweedie
