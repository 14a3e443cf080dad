// Small networks, their inputs, and how far two tensors are apart.
#pragma once

#include <memory>

#include <ATen/ATen.h>

#include "tweedie/nets/initialise.h"
#include "tweedie/nets/mlp.h"
#include "tweedie/nets/unet.h"
#include "tweedie/tensor/random.h"

namespace tweedie::testing {

inline double distance(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>();
}

inline std::vector<int64_t> first_samples(int64_t count) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < count; ++i) samples.push_back(i);
  return samples;
}

inline Tensor normal(at::IntArrayRef shape, uint64_t seed = 1) {
  return keyed_normal({seed, Stream::data}, first_samples(shape[0]), 0, shape.slice(1));
}

/// The options of a small U-Net for samples of `shape`, with `more` over them.
inline Json unet_options(const std::vector<int64_t>& shape, const Json& more = Json::object()) {
  Json options = {{"channels", 8},
                  {"multipliers", {1, 2}},
                  {"layers_per_block", 1},
                  {"norm_num_groups", 4},
                  {"sample_shape", shape}};
  if (!more.is_null()) options.update(more);
  return options;
}

inline std::shared_ptr<Network> unet(const std::vector<int64_t>& shape,
                                     const Json& more = Json::object()) {
  auto network = make_unet(unet_options(shape, more));
  initialise(*network, 5);
  network->eval();
  return network;
}

/// Output for keyed inputs of a batch of `batch`, labels of noise 0, 1, 2, ...
inline Tensor output(Network& network, const std::vector<int64_t>& shape, int64_t batch = 2,
                     const Condition& condition = {}) {
  std::vector<int64_t> sizes = {batch};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  return network.forward(normal(sizes), at::arange(batch, at::kFloat), condition);
}

inline Condition classes(std::vector<int64_t> labels) {
  return {at::tensor(labels, at::kLong), {}};
}

}  // namespace tweedie::testing
