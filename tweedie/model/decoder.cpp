#include <cmath>
#include <numbers>

#include "tweedie/base/error.h"
#include "tweedie/model/vlb.h"
#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

/// Log variance of the decoder, broadcastable to x0, in doubles.
Tensor log_variance(const Prediction& prediction, const Level& level, double variance,
                    bool learned) {
  if (!learned)
    return at::full({1}, std::log(variance), prediction.x0.options().dtype(at::kDouble));
  check(prediction.var_mix.defined(),
        "decoder: the network has no learned variance; use a fixed one");
  const Tensor mix = prediction.var_mix.to(at::kDouble);
  return mix * std::log(level.sigma * level.sigma) + (1 - mix) * std::log(variance);
}

/// Index 0..levels-1 of quantised data.
Tensor level_of(const Tensor& x0, int64_t levels) {
  return ((x0.to(at::kDouble) + 1) * (0.5 * static_cast<double>(levels - 1))).round();
}

}  // namespace

Decoder discretised_gaussian_decoder(int64_t levels, double variance, bool learned) {
  check(levels >= 2, "discretised decoder: needs data of at least 2 levels, got ", levels);
  return [=](const Prediction& prediction, const Tensor&, const Level& level, const Tensor& x0) {
    const Tensor x = x0.to(at::kDouble),
                 inverse_std = (-0.5 * log_variance(prediction, level, variance, learned)).exp();
    const double half = 1.0 / static_cast<double>(levels - 1);
    const Tensor centre = x - prediction.x0.to(at::kDouble);
    const Tensor high = (centre + half) * inverse_std, low = (centre - half) * inverse_std;
    // log(Phi(high) - Phi(low)) from the tail that both lie in, where neither is near 1.
    const Tensor flip = low > 0;
    const Tensor upper = at::special_log_ndtr(at::where(flip, -low, high));
    const Tensor lower = at::special_log_ndtr(at::where(flip, -high, low));
    const Tensor inside = upper + at::log1p(-(lower - upper).exp());
    const Tensor k = level_of(x0, levels);
    return sum_over_dims(at::where(k <= 0, at::special_log_ndtr(high),
                                   at::where(k >= levels - 1, at::special_log_ndtr(-low), inside)));
  };
}

Decoder softmax_decoder(int64_t levels) {
  check(levels >= 2, "softmax decoder: needs data of at least 2 levels, got ", levels);
  check(levels <= kMostSoftmaxLevels, "softmax decoder: ", levels,
        " levels are too many to list; use the discretised decoder");
  return [=](const Prediction&, const Tensor& x_t, const Level& level, const Tensor& x0) {
    const Tensor values =
        at::arange(levels, at::kDouble) * (2.0 / static_cast<double>(levels - 1)) - 1;
    const Tensor k = level_of(x0, levels).to(at::kLong).flatten(1);  // [B, D]
    std::vector<Tensor> out;
    for (int64_t i = 0; i < x_t.size(0); ++i) {  // one example at a time: [D, levels] is large
      const Tensor noisy = x_t[i].to(at::kDouble).cpu().flatten().unsqueeze(1);
      const Tensor logits =
          (noisy - level.alpha * values).square() * (-0.5 / (level.sigma * level.sigma));
      out.push_back(logits.log_softmax(1).gather(1, k[i].cpu().unsqueeze(1)).sum());
    }
    return at::stack(out).to(x_t.device());
  };
}

Decoder gaussian_decoder(double variance, bool learned) {
  return [=](const Prediction& prediction, const Tensor&, const Level& level, const Tensor& x0) {
    const Tensor log_var = log_variance(prediction, level, variance, learned);
    const Tensor error = x0.to(at::kDouble) - prediction.x0.to(at::kDouble);
    return sum_over_dims(
        -0.5 * (error.square() * (-log_var).exp() + log_var + std::log(2 * std::numbers::pi)));
  };
}

double decoder_variance(const Path& path) {
  const size_t last = path.size() - (path.back().sigma == 0 ? 2 : 1);
  const Level& first_noisy = path.at(last);
  return last == 0 ? first_noisy.sigma * first_noisy.sigma
                   : posterior(first_noisy, path[last - 1]).var;
}

}  // namespace tweedie
