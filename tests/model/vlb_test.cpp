#include "tweedie/model/vlb.h"

#include <doctest/doctest.h>

#include "tests/model/gaussian.h"
#include "tweedie/base/error.h"
#include "tweedie/tensor/random.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

VlbTerms exact_terms(const Path& path, Variance variance) {
  const Level first = without_clean(path).back();
  VlbOptions options{variance, {}, 1, 0};
  if (variance == Variance::analytic) options.x0_variance = x0_var;
  return vlb(exact_denoiser_with_variance(path), path, gaussian_decoder(x0_var(first)),
             quadrature_x0(), {}, quadrature_noise(), options);
}

double total(const VlbTerms& terms) {
  return (terms.prior + terms.diffusion + terms.decoder).mean().item<double>();
}

/// KL(q_T || N(0, 1)) of the data's marginal: what is left of the bound with the true reverse
/// kernels.
double terminal_kl(const Level& end) {
  const double var = marginal_var(end), mean = end.alpha * kMean;
  return 0.5 * (var + mean * mean - 1 - std::log(var));
}

/// The bound's closed form for reverse variances made of the posterior's.
double closed_form(const Path& noisy, const std::function<double(const Posterior&)>& var_of) {
  const Level &end = noisy.front(), &first = noisy.back();
  const double second_moment = kVar + kMean * kMean, var_end = end.sigma * end.sigma;
  double sum = 0.5 * (var_end + end.alpha * end.alpha * second_moment - 1 - std::log(var_end));
  for (size_t i = 0; i + 1 < noisy.size(); ++i) {
    const Posterior q = posterior(noisy[i + 1], noisy[i]);
    const double var = var_of(q);
    sum += 0.5 * (std::log(var / q.var) + (q.var + q.c_x0 * q.c_x0 * x0_var(noisy[i])) / var - 1);
  }
  return sum + 0.5 * (1 + std::log(2 * std::numbers::pi * x0_var(first)));
}

/// Excess over the entropy with the large variance.
double excess_of_large(int64_t steps) {
  return total(exact_terms(chain_path(cosine_chain(steps)), Variance::large)) - entropy();
}

}  // namespace

TEST_CASE("with the true reverse kernels the bound is the entropy and the mismatch at T") {
  for (const Schedule& chain :
       {linear_chain(1000), cosine_chain(1000), linear_chain(50), cosine_chain(4000)}) {
    const Path path = chain_path(chain);
    const double expected = entropy() + terminal_kl(path.front());
    // Rounding of up to 4000 terms of order 0.1.
    CHECK(is_near(total(exact_terms(path, Variance::learned)), expected, 1e-10));
    CHECK(is_near(total(exact_terms(path, Variance::analytic)), expected, 1e-10));
  }
  CHECK(is_near(entropy(), 0.8169521, 1e-7));  // the design's figure
}

TEST_CASE("a respaced chain and a continuous schedule have the same bound with the true kernels") {
  for (const Path& path : {sampling_path(linear_chain(1000), 37), bound_path(vp_linear(), 100),
                           bound_path(cosine(), 10), bound_path(log_snr_linear(), 20)})
    CHECK(is_near(total(exact_terms(path, Variance::learned)),
                  entropy() + terminal_kl(path.front()), 1e-10));
}

TEST_CASE("the small and the large variance give their closed forms") {
  const Path noisy = without_clean(chain_path(linear_chain(1000)));
  const double small = total(exact_terms(noisy, Variance::small)),
               large = total(exact_terms(noisy, Variance::large));
  CHECK(is_near(small, closed_form(noisy, [](const Posterior& q) { return q.var; }), 1e-10));
  CHECK(is_near(large, closed_form(noisy, [](const Posterior& q) { return q.var_large; }), 1e-10));
  CHECK(is_near(small, 1.275, 5e-4));  // the figures of the design, to the digits given there
  CHECK(is_near(large, 0.818, 5e-4));
}

TEST_CASE("the excess of the large variance falls as 1/T") {
  CHECK(is_near(std::log10(excess_of_large(100) / excess_of_large(1000)), 1, 0.1));
}

TEST_CASE("a sample of the levels is unbiased: over all its draws it is the whole bound") {
  const Path noisy = without_clean(sampling_path(linear_chain(1000), 11));  // 10 diffusion terms
  const Noise ones = [](const Tensor& like, const Level&, const Level&) {
    return at::ones_like(like);
  };
  const Decoder decoder = gaussian_decoder(0.1);
  // Strata of 10/3 levels: 10 draws in each stratum fall in cells that hold a single level.
  const Tensor x0 = at::full({10, 2}, 0.4, f64());
  const DrawLevels draw = [](int64_t) {
    std::vector<double> u;
    for (int i = 0; i < 10; ++i) u.push_back((i + 0.5) / 10);
    return u;
  };
  for (const Variance variance : {Variance::small, Variance::large}) {
    const VlbTerms whole =
        vlb(exact_denoiser(), noisy, decoder, x0, {}, ones, {variance, {}, 1, 0});
    for (const int64_t terms : {1, 3}) {
      const VlbTerms part =
          vlb(exact_denoiser(), noisy, decoder, x0, {}, ones, {variance, {}, 1, terms}, draw);
      CHECK(is_near(part.diffusion.mean().item<double>() / whole.diffusion[0].item<double>(), 1,
                    1e-12));
      CHECK(part.evaluations == terms + 1);
      CHECK(part.per_level.sizes() == at::IntArrayRef({10, terms}));
    }
    CHECK(whole.evaluations == 11);
    CHECK(whole.at[3] == 3);
  }
  CHECK_THROWS_AS(vlb(exact_denoiser(), noisy, decoder, x0, {}, ones, {Variance::small, {}, 1, 3}),
                  Error);
}

TEST_CASE("the diffusion term is the Gaussian KL for any mix of the variances") {
  const Level s = linear_chain(100).at(0.4), t = linear_chain(100).at(0.7);
  const Posterior q = posterior(s, t);
  const Tensor x_t = at::tensor({0.3, -1.2}, f64()).view({2, 1}),
               x0 = at::tensor({0.9, -0.5}, f64()).view({2, 1});
  const Prediction prediction{at::tensor({0.2, -0.4}, f64()).view({2, 1}),
                              at::tensor({0.25, 1.0}, f64()).view({2, 1})};
  const Tensor term = diffusion_term(prediction, x_t, s, t, Variance::learned, x0);
  const double gap[2] = {0.7, -0.1}, mix[2] = {0.25, 1.0};
  for (int i = 0; i < 2; ++i) {
    const double var = std::pow(q.var_large, mix[i]) * std::pow(q.var, 1 - mix[i]);
    const double shift = q.c_x0 * gap[i];
    CHECK(is_near(term[i].item<double>(),
                  0.5 * (std::log(var / q.var) + (q.var + shift * shift) / var - 1), 1e-13));
  }
}

TEST_CASE("a learned variance keeps its digits where the posterior's two are nearly equal") {
  const Schedule chain = linear_chain(1000);
  const Level s = chain.at(0.999), t = chain.at(1);
  const Posterior q = posterior(s, t);
  REQUIRE(q.var_large / q.var < 1 + 1e-5);
  // A variance far from both, so that their mix is a large number.
  const Tensor mix =
      at::full({1, 1}, std::log(1e-3 / q.var) / std::log(q.var_large / q.var), f64());
  const Tensor log_var = reverse_log_variance({mix, mix}, mix, s, t, Variance::learned);
  CHECK(is_near(log_var.item<double>(), std::log(1e-3), 1e-13));
}

TEST_CASE("the gradient of the bound vanishes at the true reverse variance") {
  const Path path = chain_path(cosine_chain(200));
  for (const size_t place : {0, 50, 150, 198}) {
    const Level &t = path[place], &s = path[place + 1];
    const Tensor x0 = quadrature_x0(), x_t = diffuse(x0, t, quadrature_eps());
    Tensor mix = at::full({1, 1}, exact_mix(s, t), f64()).requires_grad_(true);
    diffusion_term({exact_x0(x_t, t), mix.expand_as(x0)}, x_t, s, t, Variance::learned, x0)
        .mean()
        .backward();
    CHECK(std::abs(mix.grad().item<double>()) <= 1e-8);
  }
}

TEST_CASE("variances that are not there are refused by name") {
  const Level s = linear_chain(10).at(0.1), t = linear_chain(10).at(0.2);
  const Tensor x = at::zeros({1, 1}, f64());
  CHECK_THROWS_WITH_AS(reverse_log_variance({x, {}}, x, s, t, Variance::learned),
                       doctest::Contains("the network has none"), Error);
  CHECK_THROWS_WITH_AS(reverse_log_variance({x, {}}, x, s, t, Variance::analytic),
                       doctest::Contains("analytic variance"), Error);
  CHECK_THROWS_AS(vlb(exact_denoiser(), {}, gaussian_decoder(1), x, {}, quadrature_noise(), {}),
                  Error);
}
