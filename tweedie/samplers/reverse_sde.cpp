#include "tweedie/samplers/reverse_sde.h"

#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"
#include "tweedie/process/sde.h"
#include "tweedie/samplers/walk.h"

namespace tweedie {
namespace {

/// Norm of each example, [B, 1, ...], or with `over_batch` their mean.
Tensor norms(const Tensor& x, bool over_batch) {
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = x.size(0);
  const Tensor each = x.flatten(1).norm(2, {1}).view(shape);
  return over_batch ? each.mean() : each;
}

/// Without a predictor the state stays, but for the last step to clean data.
bool jumps_to_data(const ReverseSdeOptions& options, const Level& s) {
  return options.predictor == "none" && s.sigma == 0 && !options.noise_at_end;
}

/// The mean after the predictor's step, and the standard deviation of its noise.
struct Predicted {
  Tensor mean;
  double std;
};

Predicted predict(const ReverseSdeOptions& options, const Tensor& x, const Tensor& x0,
                  const Level& t, const Level& s) {
  if (options.predictor == "none") return {jumps_to_data(options, s) ? x0 : x, 0};
  if (t.alpha == 0 && options.predictor != "euler-maruyama")  // nothing of x is kept
    return {s.alpha * x0 + (options.flow ? s.sigma / t.sigma : 0) * x, options.flow ? 0 : s.sigma};
  const Tensor score = score_from_x0(x, x0, t);
  const double share = options.flow ? 0.5 : 1;
  if (options.predictor == "euler-maruyama") {
    const ForwardSde sde = forward_sde(t);
    const double step = s.t - t.t;
    return {(1 + sde.drift * step) * x - (share * sde.diffusion_squared * step) * score,
            std::sqrt(sde.diffusion_squared * -step)};
  }
  const Posterior q = posterior(s, t);
  const double a = t.alpha / s.alpha, v = q.var_large;
  if (options.predictor == "reverse-diffusion")
    return {(2 - a) * x + (share * v) * score, std::sqrt(v)};
  return {(x + (share * v) * score) / a, std::sqrt(options.predictor == "ancestral" ? q.var : v)};
}

/// One Langevin step at level t, of which s is the next one.
Tensor corrected(const ReverseSdeOptions& options, const Tensor& x, const Tensor& score,
                 const Level& t, const Level& s, const Tensor& z) {
  const double a = t.alpha / s.alpha;
  if (options.size == "sigma") {
    const double h = options.step * a * a * t.sigma * t.sigma;
    return x + h * score + std::sqrt(2 * h) * z;
  }
  const Tensor ratio =
      options.snr * norms(z, options.batch_norms) / norms(score, options.batch_norms);
  const Tensor h = 2 * a * a * ratio.square();
  return x + h * score + (2 * h).sqrt() * z;
}

}  // namespace

Sampler reverse_sde(ReverseSdeOptions options) {
  const std::vector<std::string> predictors = {"euler-maruyama", "reverse-diffusion", "ancestral",
                                               "ancestral-large", "none"};
  check(std::find(predictors.begin(), predictors.end(), options.predictor) != predictors.end(),
        "reverse_sde: unknown predictor '", options.predictor, "'",
        suggestion(options.predictor, predictors));
  check(options.size == "snr" || options.size == "sigma", "reverse_sde: unknown size '",
        options.size, "'", suggestion(options.size, {"snr", "sigma"}));
  check(options.corrections >= 0, "reverse_sde: expected corrections >= 0, got ",
        options.corrections);
  check(options.snr > 0 && options.step > 0, "reverse_sde: expected snr and step above 0, got ",
        options.snr, " and ", options.step);
  return [=](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
             const Noise& noise, const Observer& observe) {
    const int64_t last = static_cast<int64_t>(path.size()) - 2;
    return walk("reverse_sde", x, path, observe,
                [&](const Tensor& start, const Level& t, const Level& s, int64_t i) {
                  Tensor state = start, x0;
                  for (int64_t k = 0; k < options.corrections; ++k) {
                    x0 = denoiser(state, t, condition).x0;
                    state = corrected(options, state, score_from_x0(state, x0, t), t, s,
                                      noise(state, t, t));
                  }
                  const bool asks = options.predictor != "none" || jumps_to_data(options, s);
                  if (asks || options.corrections == 0) x0 = denoiser(state, t, condition).x0;
                  Predicted next = predict(options, state, x0, t, s);
                  if (!options.flow && next.std > 0 && (i < last || options.noise_at_end))
                    next.mean = next.mean + next.std * noise(state, t, s);
                  return Stepped{next.mean, x0};
                });
  };
}

}  // namespace tweedie
