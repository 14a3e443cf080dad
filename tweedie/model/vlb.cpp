#include "tweedie/model/vlb.h"

#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

/// A number for each pair of levels, broadcastable to `like`.
template <class Value>
Tensor per_pair(Levels s, Levels t, const Tensor& like, const Value& value) {
  check(s.size() == t.size(), "levels: got ", s.size(), " cleaner ones for ", t.size());
  size_t next = 0;
  return per_example(
      t, [&](const Level& noisier) { return value(posterior(s[next++], noisier), noisier); }, like);
}

/// L_T: KL(q(x_T | x_0) || N(0, prior_std^2)).
Tensor prior_term(const Level& end, double prior_std, const Tensor& x0) {
  const double prior = prior_std * prior_std, var = end.sigma * end.sigma / prior;
  const double of_variance = 0.5 * ((var - 1) - std::log1p(var - 1));
  return sum_over_dims(of_variance +
                       x0.to(at::kDouble).square() * (0.5 * end.alpha * end.alpha / prior));
}

}  // namespace

Tensor reverse_log_variance(const Prediction& prediction, const Tensor& x_t, Levels s, Levels t,
                            Variance variance, const X0Variance& x0_variance) {
  const auto of_pair = [&](const std::function<double(const Posterior&, const Level&)>& value) {
    return per_pair(s, t, x_t, value);
  };
  const auto small = [](const Posterior& q, const Level&) { return std::log(q.var); };
  if (variance == Variance::small) return of_pair(small);
  if (variance == Variance::analytic) {
    check(static_cast<bool>(x0_variance),
          "analytic variance: needs the variance of x0 at each level; measure it first");
    return of_pair([&](const Posterior& q, const Level& l) {
      return std::log(q.var + q.c_x0 * q.c_x0 * x0_variance(l));
    });
  }
  if (variance == Variance::large)
    return of_pair([](const Posterior& q, const Level&) { return std::log(q.var_large); });
  check(prediction.var_mix.defined(),
        "learned variance: the network has none; train with model.variance=learned, or use small "
        "or large");
  // The two are nearly equal in fine steps: their difference is taken in doubles.
  return of_pair(small) + prediction.var_mix * of_pair([](const Posterior& q, const Level&) {
                            return std::log(q.var_large / q.var);
                          });
}

Tensor diffusion_term(const Prediction& prediction, const Tensor& x_t, Levels s, Levels t,
                      Variance variance, const Tensor& x0, const X0Variance& x0_variance) {
  const Tensor error = (x0 - prediction.x0).square();
  if (variance == Variance::small)  // (SNR_s - SNR_t) / 2 times the error; Kingma et al. 2021
                                    // (arXiv:2107.00630), eq. 13
    return sum_over_dims(
        per_pair(s, t, x_t,
                 [](const Posterior& q, const Level&) { return 0.5 * q.c_x0 * q.c_x0 / q.var; }) *
        error);
  if (variance != Variance::learned) {  // both coefficients are numbers, in doubles
    const auto var_of = [&](const Posterior& q, const Level& l) {
      return variance == Variance::large ? q.var_large : q.var + q.c_x0 * q.c_x0 * x0_variance(l);
    };
    check(variance != Variance::analytic || x0_variance,
          "analytic variance: needs the variance of x0 at each level; measure it first");
    const Tensor of_variance = per_pair(s, t, x_t, [&](const Posterior& q, const Level& l) {
      const double d = std::log(var_of(q, l) / q.var);
      return 0.5 * (std::expm1(-d) + d);
    });
    const Tensor of_error = per_pair(s, t, x_t, [&](const Posterior& q, const Level& l) {
      return 0.5 * q.c_x0 * q.c_x0 / var_of(q, l);
    });
    return sum_over_dims(of_variance + of_error * error);
  }
  const Tensor log_p = reverse_log_variance(prediction, x_t, s, t, variance, x0_variance);
  const Tensor log_q =
      per_pair(s, t, x_t, [](const Posterior& q, const Level&) { return std::log(q.var); });
  const Tensor c_sq =
      per_pair(s, t, x_t, [](const Posterior& q, const Level&) { return q.c_x0 * q.c_x0; });
  // log(v_p/v_q) + v_q/v_p - 1 as expm1(-d) + d, which keeps its digits where the variances are
  // nearly equal.
  const Tensor d = log_p - log_q;
  return sum_over_dims(0.5 * (at::expm1(-d) + d + c_sq * error * (-log_p).exp()));
}

VlbTerms vlb(const Denoiser& denoiser, const Path& path, const Decoder& decoder, const Tensor& x0,
             const Condition& condition, const Noise& noise, const VlbOptions& options,
             const DrawLevels& draw) {
  check(!path.empty() && path.front().sigma > 0, "vlb: the path has no noisy level");
  const int64_t last =
      static_cast<int64_t>(path.size()) - (path.back().sigma == 0 ? 2 : 1);  // of the decoder
  const int64_t batch = x0.size(0);
  const bool all = options.terms == 0 || options.terms >= last;
  const int64_t count = all ? last : options.terms;
  check(all || static_cast<bool>(draw), "vlb: a sample of ", options.terms,
        " levels needs a way to draw them");

  VlbTerms terms;
  terms.prior = prior_term(path.front(), options.prior_std, x0);
  terms.evaluations = count + 1;
  std::vector<Tensor> drawn;
  terms.at.resize(static_cast<size_t>(batch * count));
  for (int64_t k = 0; k < count; ++k) {
    std::vector<double> u;
    if (!all) u = draw(k);
    std::vector<Level> s, t;
    for (int64_t i = 0; i < batch; ++i) {
      const double place = all ? static_cast<double>(k)
                               : (static_cast<double>(k) + u[static_cast<size_t>(i)]) /
                                     static_cast<double>(count) * static_cast<double>(last);
      const int64_t at = std::min(static_cast<int64_t>(place), last - 1);
      terms.at[static_cast<size_t>(i * count + k)] = at;
      t.push_back(path[static_cast<size_t>(at)]);
      s.push_back(path[static_cast<size_t>(at) + 1]);
    }
    const Tensor x_t = diffuse(x0, t, noise(x0, t[0], s[0]));
    drawn.push_back(diffusion_term(denoiser(x_t, t, condition), x_t, s, t, options.variance, x0,
                                   options.x0_variance)
                        .to(at::kDouble));
  }
  terms.per_level =
      drawn.empty() ? at::zeros({batch, 0}, at::kDouble) : at::stack(drawn, 1);  // [B, K]
  terms.diffusion = terms.per_level.sum(1) *
                    (count == 0 ? 1.0 : static_cast<double>(last) / static_cast<double>(count));
  const Level& first = path[static_cast<size_t>(last)];
  const Tensor x_1 = diffuse(x0, first, noise(x0, first, clean));
  terms.decoder = -decoder(denoiser(x_1, first, condition), x_1, first, x0).to(at::kDouble);
  return terms;
}

}  // namespace tweedie
