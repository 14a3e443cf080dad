// A network's output and all its gradients, and networks that the blocks on images can be.
#pragma once

#include <map>
#include <string>

#include "tests/nets/make.h"

namespace tweedie::testing {

struct Gradients {
  Tensor y;
  std::map<std::string, Tensor> of;  // "x" and every parameter
};

/// Normal numbers, an example's the same in every batch.
inline Tensor first_normals(uint64_t seed, int64_t batch, at::IntArrayRef shape) {
  return keyed_normal({seed, Stream::data}, first_samples(batch), 0, shape);
}

inline Gradients gradients(Network& network, const std::vector<int64_t>& shape, int64_t batch) {
  Tensor x = first_normals(1, batch, shape).requires_grad_(true);
  const Tensor t = at::arange(batch, at::kFloat) * 100 + 3;
  network.zero_grad();
  network.seed = 4;
  network.step = 5;
  Gradients g;
  g.y = network.forward(x, t, {});
  (g.y * first_normals(2, batch, g.y.sizes().slice(1))).sum().backward();
  g.of["x"] = x.grad().clone();
  for (const auto& parameter : network.named_parameters())
    g.of[parameter.key()] = parameter.value().grad().clone();
  return g;
}

inline double relative_error(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

struct NetCase {
  const char* name;
  std::vector<int64_t> shape;
  Json options;
};

inline const std::vector<NetCase>& net_cases() {
  static const std::vector<NetCase> cases = {
      {"plain", {1, 8, 8}, {{"channels", 32}}},
      {"odd sizes, attention, one head",
       {3, 7, 5},
       {{"channels", 32}, {"attention", {7}}, {"attention_head_dim", 0}}},
      {"scale and shift",
       {2, 8, 6},
       {{"channels", 32}, {"resnet_time_scale_shift", "scale_shift"}}},
      {"padding of DDPM, learned variance, dropout",
       {1, 12, 12},
       {{"channels", 64},
        {"multipliers", {1, 1, 2}},
        {"downsample_padding", 0},
        {"learned_variance", true},
        {"dropout", 0.2}}},
      {"Fourier features, few groups",
       {1, 8, 8},
       {{"channels", 32}, {"fourier_features", {3, 4}}, {"norm_num_groups", 8}}},
  };
  return cases;
}

}  // namespace tweedie::testing
