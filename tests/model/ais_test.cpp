#include "tweedie/model/ais.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/model/line.h"
#include "tests/refusal.h"
#include "tweedie/base/error.h"
#include "tweedie/model/ode.h"

using namespace tweedie;
using namespace tweedie::testing;

TEST_CASE("with the true reverse kernels a weight is the density, and the mismatch at T") {
  const Path path = chain_path(cosine_chain(50));
  const Level end = path.front(), first = without_clean(path).back();
  const Tensor x0 = at::tensor({0.1, 0.7, 1.9}, f64()).view({3, 1});
  Tensor last;  // x_T
  const Denoiser watching = [&](const Tensor& x_t, Levels levels, const Condition& condition) {
    last = x_t;
    return exact_denoiser_with_variance(path)(x_t, levels, condition);
  };
  const AisWeights got = ais(watching, path, gaussian_decoder(x0_var(first)), x0, {},
                             path_noise(15), {Variance::learned, {}, 1, 5});
  const auto density = [](const Tensor& x, double mean, double var) {
    return -0.5 * ((x - mean).square() / var + std::log(2 * std::numbers::pi * var));
  };
  const Tensor expected = density(x0.repeat_interleave(5, 0), kMean, kVar) + density(last, 0, 1) -
                          density(last, end.alpha * kMean, marginal_var(end));
  CHECK(distance(got.log_weights.view({15, 1}), expected) <= 1e-10);
  CHECK(got.evaluations == 50 * 5);
}

TEST_CASE("the weights' variance falls as 1/T with the large variance, 1/T^1.9 with the true one") {
  const std::vector<double> steps{30, 100, 300};
  std::vector<double> large, matched;
  for (const double t : steps) {
    large.push_back(quality(static_cast<int64_t>(t), Variance::large, 400).variance);
    matched.push_back(quality(static_cast<int64_t>(t), Variance::learned, 400).variance);
  }
  CHECK(is_near(log_slope(steps, large), -1, 0.15));
  CHECK(is_near(log_slope(steps, matched), -1.9, 0.2));
}

TEST_CASE("more paths tighten the bound and never pass log p") {
  const Path path = chain_path(cosine_chain(100));
  const Tensor x0 = line_points(600), log_p = line_log_density(x0, clean);
  const Tensor weights = line_weights(path, Variance::large, x0, 64);
  Tensor before;
  double gap = 0;
  for (const int64_t k : {1, 2, 4, 8, 16, 32, 64}) {
    const Tensor iwae = ais_estimate(weights.narrow(1, 0, k)).iwae;
    const auto error = [](const Tensor& values) {
      return values.std().item<double>() / std::sqrt(static_cast<double>(values.size(0)));
    };
    const Tensor above = iwae - log_p;
    CHECK(above.mean().item<double>() <= 3 * error(above));
    if (before.defined()) {
      const Tensor gain = iwae - before;
      CHECK(gain.mean().item<double>() >= -2 * error(gain));
    }
    before = iwae;
    gap = -above.mean().item<double>();
  }
  const double first_gap = (log_p - weights.select(1, 0)).mean().item<double>();
  CHECK(gap < first_gap / 4);
}

TEST_CASE("the mean weight is a density: over all data it integrates to 1") {
  const int64_t points = 101, paths = 400;
  const Path path = chain_path(cosine_chain(30));
  const Tensor x0 = at::linspace(-3, 3, points, f64()).unsqueeze(1);
  const Tensor density = line_weights(path, Variance::large, x0, paths).exp();  // [points, K]
  const double spacing = 6.0 / static_cast<double>(points - 1);
  const double integral = density.mean(1).sum().item<double>() * spacing,
               error = (density.var(1).sum() / paths).sqrt().item<double>() * spacing;
  CHECK(is_near(integral, 1, 3 * error));
  CHECK(error < 0.01);
}

TEST_CASE("with a discretised decoder the probabilities of all values add up to 1") {
  const int64_t levels = 33, paths = 400;
  const Path path = chain_path(cosine_chain(30));
  // Half as wide as the mixture above, so that hardly anything is beyond the edges.
  const Denoiser narrow = [](const Tensor& x_t, Levels levels, const Condition&) {
    Level wide = levels[0];
    wide.sigma *= 2;
    return Prediction{0.5 * line_posterior(2 * x_t, wide).first, {}};
  };
  const Tensor x0 = at::linspace(-1, 1, levels, f64()).unsqueeze(1);
  const Decoder decoder =
      discretised_gaussian_decoder(levels, last_variance(path, Variance::large));
  const Tensor probability = ais(narrow, path, decoder, x0, {}, path_noise(levels * paths),
                                 {Variance::large, {}, 1, paths})
                                 .log_weights.exp();  // [levels, K]
  const double error = (probability.var(1).sum() / paths).sqrt().item<double>();
  CHECK(is_near(probability.mean(1).sum().item<double>(), 1, 3 * error));
  CHECK(error < 0.02);
}

TEST_CASE("the mean log weight is minus the bound, and both are below the importance bound") {
  const Path path = chain_path(cosine_chain(50));
  const Tensor x0 = line_points(2000);
  const Decoder decoder = gaussian_decoder(last_variance(path, Variance::large));
  const VlbTerms terms = vlb(line_denoiser, path, decoder, x0, {}, keyed_noise(12, numbers(2000)),
                             {Variance::large, {}, 1, 0});
  const AisEstimate estimate = ais_estimate(line_weights(path, Variance::large, x0, 16));
  const Tensor bound = -(terms.prior + terms.diffusion + terms.decoder);
  const auto error = [](const Tensor& values) {
    return values.std().item<double>() / std::sqrt(static_cast<double>(values.size(0)));
  };
  const Tensor apart = bound - estimate.mean;
  CHECK(std::abs(apart.mean().item<double>()) <= 3 * error(apart));
  CHECK(bound.mean().item<double>() <= estimate.iwae.mean().item<double>());
  OdeOptions options;
  options.numerical_error = false;
  const Denoiser per_example_denoiser = [](const Tensor& x_t, Levels levels, const Condition&) {
    std::vector<Tensor> rows;
    for (int64_t i = 0; i < x_t.size(0); ++i)
      rows.push_back(line_posterior(x_t.narrow(0, i, 1), levels[static_cast<size_t>(i)]).first);
    return Prediction{at::cat(rows), {}};
  };
  const Tensor few = x0.narrow(0, 0, 20);
  const Tensor exact =
      ode_log_prob(per_example_denoiser, cosine_chain(1000), few, {}, options).nats;
  CHECK(estimate.iwae.narrow(0, 0, 20).mean().item<double>() <= exact.mean().item<double>());
}

TEST_CASE("estimates of equal weights are the weight, and one dominant path counts as one") {
  const AisEstimate equal = ais_estimate(at::full({2, 4}, -3.0, f64()));
  CHECK(is_near(equal.iwae[0].item<double>(), -3, 1e-14));
  CHECK(is_near(equal.effective_paths[0].item<double>(), 4, 1e-12));
  CHECK(equal.variance[0].item<double>() == 0);
  const AisEstimate one = ais_estimate(at::tensor({0.0, -800.0}, f64()).view({1, 2}));
  CHECK(is_near(one.effective_paths[0].item<double>(), 1, 1e-12));
  CHECK(is_near(one.iwae[0].item<double>(), -std::log(2.0), 1e-12));
  CHECK(at::isnan(ais_estimate(at::zeros({1, 1}, f64())).variance[0]).item<bool>());
}

TEST_CASE("the advice follows the weights' variance") {
  const auto advice = [](double spread, Variance variance) {
    const double s = std::sqrt(spread);
    return ais_advice(ais_estimate(at::tensor({s, -s}, f64()).view({1, 2})), 2, variance);
  };
  CHECK(says(advice(0.01, Variance::large), "one path is enough"));
  CHECK(says(advice(0.5, Variance::large), "more paths tighten"));
  CHECK(says(advice(0.5, Variance::small), "the small variance keeps it from falling"));
  CHECK(says(advice(30, Variance::large), "use more levels"));
  CHECK(says(ais_advice(ais_estimate(at::zeros({1, 1}, f64())), 1, Variance::large), "--paths"));
}

TEST_CASE("weights need what their variance needs, and at least one path") {
  const Path path = chain_path(cosine_chain(10));
  const Tensor x0 = line_points(2);
  const Decoder decoder = gaussian_decoder(0.1);
  for (const AisOptions& options :
       {AisOptions{Variance::learned, {}, 1, 1}, AisOptions{Variance::analytic, {}, 1, 1},
        AisOptions{Variance::large, {}, 1, 0}})
    CHECK_THROWS_AS(ais(line_denoiser, path, decoder, x0, {}, path_noise(2), options), Error);
}
