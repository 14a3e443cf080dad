// A mixture of three normals in the plane, whose score, denoiser and flow are known in closed form.
#pragma once

#include <array>

#include "tests/model/gaussian.h"

namespace tweedie::testing {

struct Component {
  double weight, mean[2], var[2];
};
constexpr std::array<Component, 3> kMixture = {{{0.5, {-1.0, 0.2}, {0.04, 0.09}},
                                                {0.3, {0.8, -0.6}, {0.01, 0.25}},
                                                {0.2, {0.4, 1.1}, {0.16, 0.02}}}};

/// One number of each component as [3, 2] or, where it is one for both dimensions, [3].
inline Tensor mixture_means() {
  Tensor out = at::empty({3, 2}, f64());
  for (int k = 0; k < 3; ++k)
    for (int d = 0; d < 2; ++d) out[k][d] = kMixture[static_cast<size_t>(k)].mean[d];
  return out;
}
inline Tensor mixture_vars() {
  Tensor out = at::empty({3, 2}, f64());
  for (int k = 0; k < 3; ++k)
    for (int d = 0; d < 2; ++d) out[k][d] = kMixture[static_cast<size_t>(k)].var[d];
  return out;
}
inline Tensor mixture_weights() {
  return at::tensor({kMixture[0].weight, kMixture[1].weight, kMixture[2].weight}, f64());
}

/// log(weight_k N(x_t; alpha mean_k, alpha^2 var_k + sigma^2)) of each component [B, 3].
inline Tensor mixture_log_terms(const Tensor& x_t, Levels levels) {
  const Tensor like = x_t.detach().unsqueeze(1);  // [B, 1, 2]
  const Tensor alpha = per_example(
      levels, [](const Level& l) { return l.alpha; }, like);
  const Tensor sigma = per_example(
      levels, [](const Level& l) { return l.sigma; }, like);
  const Tensor var = alpha.square() * mixture_vars() + sigma.square();  // [B, 3, 2]
  const Tensor off = x_t.unsqueeze(1) - alpha * mixture_means();
  return mixture_weights().log() -
         0.5 * (off.square() / var + var.log() + std::log(2 * std::numbers::pi)).sum(2);
}

/// log p_t(x_t) [B].
inline Tensor mixture_log_density(const Tensor& x_t, Levels levels) {
  return mixture_log_terms(x_t, levels).logsumexp(1);
}

/// E[x_0 | x_t]: each component's own, by its share of the posterior.
inline Prediction mixture_denoiser(const Tensor& x_t, Levels levels, const Condition&) {
  const Tensor like = x_t.detach().unsqueeze(1);
  const Tensor alpha = per_example(
      levels, [](const Level& l) { return l.alpha; }, like);
  const Tensor sigma = per_example(
      levels, [](const Level& l) { return l.sigma; }, like);
  const Tensor means = mixture_means(), vars = mixture_vars();
  const Tensor share = mixture_log_terms(x_t, levels).softmax(1).unsqueeze(2);  // [B, 3, 1]
  const Tensor gain = alpha * vars / (alpha.square() * vars + sigma.square());
  return {(share * (means + gain * (x_t.unsqueeze(1) - alpha * means))).sum(1), {}};
}

/// Normal points of standard deviation `std`, [count, 2].
inline Tensor starts(int64_t count, double std) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < count; ++i) samples.push_back(i);
  return std * keyed_normal({4, Stream::prior}, samples, 0, {2}).to(at::kDouble);
}

/// Independent points of the mixture [count, 2].
inline Tensor mixture_points(int64_t count) {
  std::vector<int64_t> samples, component;
  for (int64_t i = 0; i < count; ++i) {
    samples.push_back(i);
    const double u = keyed_uniform({3, Stream::data}, i, 0);
    component.push_back(u < kMixture[0].weight                        ? 0
                        : u < kMixture[0].weight + kMixture[1].weight ? 1
                                                                      : 2);
  }
  const Tensor k = at::tensor(component, at::kLong);
  return mixture_means().index_select(0, k) +
         mixture_vars().sqrt().index_select(0, k) *
             keyed_normal({3, Stream::noise}, samples, 0, {2}).to(at::kDouble);
}

/// Points of the mixture, a third of them of each component, with the weights that make up for it.
struct MixtureDraws {
  Tensor x0, weight;  // [B, 2], [B, 1]
};
inline MixtureDraws mixture_draws(int64_t count) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < count; ++i) samples.push_back(i);
  const Tensor z = keyed_normal({2, Stream::data}, samples, 0, {2}).to(at::kDouble);
  const Tensor k = at::arange(count, at::kLong) % 3;
  return {mixture_means().index_select(0, k) + mixture_vars().sqrt().index_select(0, k) * z,
          3 * mixture_weights().index_select(0, k).unsqueeze(1)};
}

}  // namespace tweedie::testing
