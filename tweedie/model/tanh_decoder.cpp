#include "tweedie/model/tanh_decoder.h"

#include <cmath>
#include <numbers>

#include "tweedie/base/error.h"

namespace tweedie {

Tensor tanh_normal_cdf(const Tensor& x) {
  return 0.5 * (1 + at::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x.pow(3))));
}

Tensor tanh_log_likelihood(const Tensor& x, const Tensor& means, const Tensor& log_std) {
  const Tensor centred = x - means, inverse_std = (-log_std).exp();
  const Tensor below_high = tanh_normal_cdf(inverse_std * (centred + 1.0 / 255));
  const Tensor below_low = tanh_normal_cdf(inverse_std * (centred - 1.0 / 255));
  const auto log = [](const Tensor& p) { return p.clamp_min(1e-12).log(); };
  return at::where(x < -0.999, log(below_high),
                   at::where(x > 0.999, log(1 - below_low), log(below_high - below_low)));
}

Decoder tanh_decoder(double variance, bool learned) {
  return [=](const Prediction& prediction, const Tensor&, const Level& level, const Tensor& x0) {
    Tensor log_variance = at::full_like(x0, std::log(variance));
    check(!learned || prediction.var_mix.defined(),
          "tanh decoder: the network has no learned variance; use a fixed one");
    if (learned)
      log_variance = prediction.var_mix * std::log(level.sigma * level.sigma) +
                     (1 - prediction.var_mix) * std::log(variance);
    return tanh_log_likelihood(x0, prediction.x0, 0.5 * log_variance).flatten(1).sum(1);
  };
}

}  // namespace tweedie
