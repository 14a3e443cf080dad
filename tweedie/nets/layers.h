// LibTorch's layers with weights that are still to be set.  Its constructors draw random ones: for
// a model that is read from a file that would take longer than reading it, and its memory twice.
#pragma once

#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>

namespace tweedie {

/// A layer of size one that then takes its sizes: memory that is not written costs nothing.
inline torch::nn::Linear unset_linear(int64_t in, int64_t out, bool bias = true) {
  torch::nn::Linear layer(torch::nn::LinearOptions(1, 1).bias(bias));
  layer->options.in_features(in).out_features(out);
  layer->weight.set_data(at::empty({out, in}));
  if (bias) layer->bias.set_data(at::empty({out}));
  return layer;
}

inline torch::nn::Conv2d unset_conv(const torch::nn::Conv2dOptions& given) {
  torch::nn::Conv2d layer(torch::nn::Conv2dOptions(1, 1, 1).bias(given.bias()));
  auto& options = layer->options;
  options.in_channels(given.in_channels()).out_channels(given.out_channels());
  options.kernel_size(given.kernel_size()).stride(given.stride()).padding(given.padding());
  const auto& side = *given.kernel_size();
  layer->weight.set_data(at::empty({given.out_channels(), given.in_channels(), side[0], side[1]}));
  if (given.bias()) layer->bias.set_data(at::empty({given.out_channels()}));
  return layer;
}

inline torch::nn::Embedding unset_embedding(int64_t rows, int64_t width) {
  torch::nn::Embedding layer(1, 1);
  layer->options.num_embeddings(rows).embedding_dim(width);
  layer->weight.set_data(at::empty({rows, width}));
  return layer;
}

}  // namespace tweedie
