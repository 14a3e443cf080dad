#include "tweedie/model/denoiser.h"

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

/// c_noise of each example [B], in x's type.
Tensor labels_of(const std::vector<Scaling>& scalings, const Tensor& x) {
  if (scalings.size() == 1) return at::full({x.size(0)}, scalings[0].c_noise, x.options());
  return numbers_like(
      {x.size(0)}, [&](size_t i) { return scalings[i].c_noise; }, x);
}

}  // namespace

NetworkOutput run_network(Network& network, const Parameterisation& parameterisation,
                          const Tensor& x_t, Levels levels, const Condition& condition) {
  std::vector<Scaling> scalings;
  scalings.reserve(levels.size());
  for (const Level& level : levels) scalings.push_back(parameterisation(level));
  size_t next = 0;
  const Tensor c_in = per_example(
      levels, [&](const Level&) { return scalings[next++].c_in; }, x_t);
  const Tensor output = network.forward(c_in * x_t, labels_of(scalings, x_t), condition);
  const int64_t channels = x_t.size(1);
  check(output.dim() == x_t.dim() && (output.size(1) == channels || output.size(1) == 2 * channels),
        "network: for input of shape ", x_t.sizes(), " gave ", output.sizes(), "; expected ",
        channels, " or ", 2 * channels, " channels");
  if (output.size(1) == channels) return {output, {}, std::move(scalings)};
  return {output.narrow(1, 0, channels), output.narrow(1, channels, channels), std::move(scalings)};
}

Prediction prediction_of(const NetworkOutput& output, const Tensor& x_t, Levels levels) {
  size_t next = 0;
  const Tensor c_skip = per_example(
      levels, [&](const Level&) { return output.scalings[next++].c_skip; }, x_t);
  next = 0;
  const Tensor c_out = per_example(
      levels, [&](const Level&) { return output.scalings[next++].c_out; }, x_t);
  // Nichol & Dhariwal 2021 (arXiv:2102.09672), eq. 15: v in [-1, 1] as the network gives it, [0, 1]
  // as a mix.
  return {c_skip * x_t + c_out * output.value,
          output.variance.defined() ? (output.variance + 1) / 2 : Tensor()};
}

Denoiser make_denoiser(std::shared_ptr<Network> network, Parameterisation parameterisation) {
  return [network, parameterisation](const Tensor& x_t, Levels levels, const Condition& condition) {
    return prediction_of(run_network(*network, parameterisation, x_t, levels, condition), x_t,
                         levels);
  };
}

Denoiser guided(Denoiser denoiser, double weight, Condition null) {
  if (weight == 1) return denoiser;
  if (weight == 0)
    return [denoiser, null](const Tensor& x_t, Levels levels, const Condition&) {
      return denoiser(x_t, levels, null);
    };
  return [denoiser, weight, null](const Tensor& x_t, Levels levels, const Condition& condition) {
    const Prediction with = denoiser(x_t, levels, condition), without = denoiser(x_t, levels, null);
    return Prediction{without.x0 + weight * (with.x0 - without.x0), with.var_mix};
  };
}

Denoiser clipped(Denoiser denoiser, double low, double high) {
  return [=](const Tensor& x_t, Levels levels, const Condition& condition) {
    const Prediction prediction = denoiser(x_t, levels, condition);
    return Prediction{prediction.x0.clamp(low, high), prediction.var_mix};
  };
}

Denoiser thresholded(Denoiser denoiser, double share, double most) {
  check(share > 0 && share <= 1, "thresholded: expected a share in (0, 1], got ", share);
  check(most >= 1, "thresholded: expected most >= 1, got ", most);
  return [=](const Tensor& x_t, Levels levels, const Condition& condition) {
    const Prediction prediction = denoiser(x_t, levels, condition);
    const Tensor x0 = prediction.x0.flatten(1);
    const Tensor bound = at::quantile(x0.abs(), share, 1, true).clamp(1, most);
    return Prediction{(at::max(at::min(x0, bound), -bound) / bound).view_as(prediction.x0),
                      prediction.var_mix};
  };
}

}  // namespace tweedie
