#include "tweedie/model/objective.h"

#include <doctest/doctest.h>
#include <torch/autograd.h>

#include "tests/model/gaussian.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

double no_label(const Level&) { return 0; }

struct ZeroNetwork : Network {
  Tensor forward(const Tensor& x, const Tensor&, const Condition&) override {
    return at::zeros_like(x);
  }
};

/// F = slope x, and a learned variance that is a number.
struct TwoNumbers : Network {
  Tensor slope = register_parameter("slope", at::full({1}, 0.6, f64()));
  Tensor variance = register_parameter("variance", at::full({1}, -0.2, f64()));
  Tensor forward(const Tensor& x, const Tensor&, const Condition&) override {
    return at::cat({slope * x, variance.expand_as(x)}, 1);
  }
};

Tensor normal(int64_t size, Stream stream) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < size; ++i) samples.push_back(i);
  return keyed_normal({1, stream}, samples, 0, {1}).to(at::kDouble);
}

/// Derivative of the mean loss in a parameter.
double slope_of(const Tensor& loss, const Tensor& parameter) {
  return torch::autograd::grad({loss.mean()}, {parameter}, {}, true)[0].item<double>();
}

}  // namespace

TEST_CASE("the loss of a zero network is E eps^2 with eps, and E (alpha v)^2 with v") {
  const Schedule chain = linear_chain(1000);
  const Objective simple = simple_objective(chain);
  std::vector<Level> levels;
  for (int i = 0; i < 100; ++i) levels.push_back(chain.at((i + 1) / 100.0));
  const Batch batch{0.5 * normal(100, Stream::data), {}};
  const Tensor eps = normal(100, Stream::noise);
  ZeroNetwork network;
  const Tensor with_eps =
      denoising_loss(network, eps_prediction(no_label), simple, batch, levels, eps);
  CHECK(with_eps.sizes() == at::IntArrayRef({100}));
  CHECK(distance(with_eps, eps.square().flatten()) <= 1e-12);
  const Tensor alpha = per_example(
      levels, [](const Level& l) { return l.alpha; }, eps);
  const Tensor v = v_from_x0(diffuse(batch.x, levels, eps), batch.x, levels);
  const Tensor with_v = denoising_loss(network, v_prediction(no_label), simple, batch, levels, eps);
  CHECK(distance(with_v, (alpha * v).square().flatten()) <= 1e-12);
}

TEST_CASE("every parameterisation has the same loss for the same prediction of x0") {
  struct Exact : Network {
    Parameterisation parameterisation;
    Level level;
    Tensor forward(const Tensor& x_in, const Tensor&, const Condition&) override {
      const Scaling k = parameterisation(level);
      const Tensor x = x_in / k.c_in;
      return (exact_x0(x, level) - k.c_skip * x) / k.c_out;
    }
  };
  const Tensor x0 = quadrature_x0(), eps = quadrature_eps();
  for (const double t : {0.01, 0.5, 0.99}) {
    const Level level = vp_linear().at(t);
    const double expected =
        level.alpha * level.alpha * kVar / marginal_var(level);  // the least eps loss
    for (const Parameterisation& parameterisation :
         {eps_prediction(no_label), x0_prediction(no_label), v_prediction(no_label),
          velocity_prediction(no_label), score_prediction(no_label), edm_prediction(0.5)}) {
      Exact network;
      network.parameterisation = parameterisation;
      network.level = level;
      const Tensor loss = denoising_loss(network, parameterisation, simple_objective(vp_linear()),
                                         {x0, {}}, level, eps);
      CHECK(is_near(loss.mean().item<double>() / expected, 1, 1e-10));
    }
  }
}

TEST_CASE("pure noise has a finite loss where the parameterisation can name x0 there") {
  ZeroNetwork network;
  const Schedule schedule = flow();
  const Level noise = schedule.at(1);
  CHECK(noise.alpha == 0);
  const Tensor x = at::ones({2, 1}, f64()), eps = at::ones({2, 1}, f64());
  for (const Parameterisation& parameterisation :
       {x0_prediction(no_label), v_prediction(no_label), velocity_prediction(no_label)})
    CHECK(denoising_loss(network, parameterisation, simple_objective(schedule), {x, {}}, noise, eps)
              .abs()
              .max()
              .item<double>() == 0);  // an eps error of 0 there, whatever F says
  CHECK_THROWS_AS(denoising_loss(network, eps_prediction(no_label), simple_objective(schedule),
                                 {x, {}}, noise, eps),
                  Error);
}

TEST_CASE("the unweighted objective trains at pure noise, where the simple one cannot") {
  const Schedule chain = chain_from_betas("zero", zero_terminal_snr(linear_betas(9, 0.1, 0.2)));
  for (const Schedule& schedule : {flow(), chain}) {
    CAPTURE(schedule.name);
    const Level noise = schedule.at(1);
    const Batch batch{quadrature_x0(), {}};
    for (const Parameterisation& parameterisation :
         {v_prediction(no_label), velocity_prediction(no_label)}) {
      TwoNumbers network;
      const auto gradient = [&](const Objective& objective) {
        return slope_of(
            denoising_loss(network, parameterisation, objective, batch, noise, quadrature_eps()),
            network.slope);
      };
      CHECK(gradient(simple_objective(schedule)) == 0);
      CHECK(std::abs(gradient(unweighted_objective(schedule))) > 0.1);
    }
  }
}

TEST_CASE("unweighted velocity prediction is flow matching: the mean square of F - (eps - x0)") {
  TwoNumbers network;
  const Tensor x0 = quadrature_x0(), eps = quadrature_eps();
  for (const double t : {0.2, 0.7, 1.0}) {
    const Tensor x_t = (1 - t) * x0 + t * eps;
    const Tensor expected = (0.6 * x_t - (eps - x0)).square().flatten();
    const Tensor loss = denoising_loss(network, velocity_prediction(no_label),
                                       unweighted_objective(flow()), {x0, {}}, flow().at(t), eps);
    CHECK(distance(loss, expected) <= 1e-12);
  }
}

TEST_CASE("the bound as loss, summed over the chain, is the bound") {
  const Schedule chain = linear_chain(50);
  const Path path = chain_path(chain), noisy = without_clean(path);
  const auto network = std::make_shared<TwoNumbers>();
  const Decoder decoder = gaussian_decoder(decoder_variance(path), true);
  const Parameterisation parameterisation = eps_prediction(no_label);
  std::vector<int64_t> places;
  for (int64_t i = 0; i < 50; ++i) places.push_back(i);
  const Tensor x0 = at::full({50, 1}, 0.3, f64()), eps = at::ones({50, 1}, f64());
  const Noise ones = [](const Tensor& like, const Level&, const Level&) {
    return at::ones_like(like);
  };
  const VlbTerms terms = vlb(make_denoiser(network, parameterisation), path, decoder,
                             x0.narrow(0, 0, 1), {}, ones, {Variance::learned, {}, 1, 0});
  const double expected = (terms.diffusion + terms.decoder).item<double>();
  const Tensor loss =
      vlb_loss(*network, parameterisation, {x0, {}}, path, places, eps, Variance::learned, decoder);
  CHECK(is_near(loss.mean().item<double>() / expected, 1, 1e-12));
  CHECK(at::equal(loss, vlb_loss(*network, parameterisation, {x0, {}}, noisy, places, eps,
                                 Variance::learned, decoder)));
}

TEST_CASE("the hybrid loss teaches the mean by the simple part and the variance by the bound") {
  const Path path = chain_path(linear_chain(50));
  TwoNumbers network;
  const Decoder decoder = gaussian_decoder(decoder_variance(path), true);
  const Parameterisation parameterisation = eps_prediction(no_label);
  Objective objective = simple_objective(linear_chain(50));
  objective.vlb_weight = 0.25;
  const std::vector<int64_t> places = {0, 7, 48, 49};
  std::vector<Level> levels;
  for (const int64_t place : places) levels.push_back(path[static_cast<size_t>(place)]);
  const Batch batch{quadrature_x0(), {}};
  const Tensor eps = quadrature_eps();
  const Tensor hybrid =
      hybrid_loss(network, parameterisation, objective, batch, path, places, eps, decoder);
  const Tensor simple = denoising_loss(network, parameterisation, objective, batch, levels, eps);
  const Tensor bound =
      vlb_loss(network, parameterisation, batch, path, places, eps, Variance::learned, decoder);
  CHECK(distance(hybrid, simple + 0.25 * bound) <= 1e-12);
  CHECK(is_near(slope_of(hybrid, network.slope), slope_of(simple, network.slope), 1e-14));
  CHECK(
      is_near(slope_of(hybrid, network.variance), 0.25 * slope_of(bound, network.variance), 1e-13));
  CHECK(std::abs(slope_of(bound, network.variance)) > 1e-3);
  CHECK(std::abs(slope_of(bound, network.slope)) > 1e-3);
}

TEST_CASE("the hybrid loss needs a network with a learned variance") {
  ZeroNetwork network;
  CHECK_THROWS_WITH_AS(
      hybrid_loss(network, eps_prediction(no_label), simple_objective(linear_chain(5)),
                  {at::zeros({1, 1}, f64()), {}}, chain_path(linear_chain(5)), {2},
                  at::ones({1, 1}, f64()), gaussian_decoder(1)),
      doctest::Contains("learned variance"), Error);
}
