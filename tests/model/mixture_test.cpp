// Laws of exact denoisers, on data whose every answer is known.
#include <doctest/doctest.h>
#include <torch/autograd.h>

#include "tests/model/mixture.h"
#include "tests/model/no_noise.h"
#include "tweedie/model/objective.h"
#include "tweedie/samplers/ddim.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// F = slope x + shift, as a score times sigma.
struct LinearScore : Network {
  double slope = 0, shift = 0;
  Tensor forward(const Tensor& x, const Tensor&, const Condition&) override {
    return slope * x + shift;
  }
};

std::vector<Level> some_levels() {
  return {linear_chain(1000).at(0.1),
          cosine_chain(200).at(0.5),
          vp_linear().at(0.3),
          vp_linear().at(1),
          edm().at(0.05),
          edm().at(20),
          flow().at(0.5),
          sub_vp().at(0.2)};
}

}  // namespace

TEST_CASE("Tweedie: the score read from E[x_0 | x_t] is the gradient of log p_t") {
  for (const Level& level : some_levels()) {
    CAPTURE(level.sigma);
    const Tensor x = starts(64, std::hypot(level.alpha, level.sigma)).requires_grad_(true);
    const Tensor expected = torch::autograd::grad({mixture_log_density(x, level).sum()}, {x})[0];
    const Tensor score =
        score_from_x0(x.detach(), mixture_denoiser(x.detach(), level, {}).x0, level);
    // The view divides by sigma^2, 400 at the least noise here.
    const double scale = std::max(1.0, expected.abs().max().item<double>());
    CHECK(distance(score, expected) <= 1e-10 * scale);
  }
}

TEST_CASE("the denoiser is the posterior mean: its error is orthogonal to any function of x_t") {
  const int64_t count = 30000;
  const MixtureDraws draws = mixture_draws(count);
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < count; ++i) samples.push_back(i);
  const Tensor eps = keyed_normal({2, Stream::noise}, samples, 0, {2}).to(at::kDouble);
  for (const Level& level : some_levels()) {
    CAPTURE(level.sigma);
    const Tensor x_t = diffuse(draws.x0, level, eps),
                 error = draws.weight * (draws.x0 - mixture_denoiser(x_t, level, {}).x0);
    for (const Tensor& probe : {at::ones_like(x_t), x_t, at::tanh(3 * x_t), x_t.flip(1)}) {
      const Tensor product = error * probe;
      const double bound = 4 / std::sqrt(static_cast<double>(count));  // standard errors, 64 checks
      CHECK((product.mean(0).abs() <= bound * product.std(0)).all().item<bool>());
    }
  }
}

TEST_CASE("the denoiser of a set of points is their mean weighted by how near they are") {
  // A mixture of points is the limit of narrow normals: the exact denoiser of a training set.
  const Level level = vp_linear().at(0.4);
  const Tensor points = mixture_means(), x = starts(16, 1);
  const Tensor near =
      (-0.5 * (x.unsqueeze(1) - level.alpha * points).square().sum(2) / (level.sigma * level.sigma))
          .softmax(1);  // [B, 3]
  const Denoiser of_points = [=](const Tensor& x_t, Levels, const Condition&) {
    return Prediction{near.to(x_t.scalar_type()).matmul(points), {}};
  };
  const Tensor var = near.unsqueeze(2) * (points - near.matmul(points).unsqueeze(1)).square();
  // The score's divergence and the posterior variance: s^2 (1 + s^2 div) = a^2 Var(x_0 | x_t).
  Tensor at_x = x.clone().requires_grad_(true);
  const Tensor log_p = (-0.5 * (at_x.unsqueeze(1) - level.alpha * points).square().sum(2) /
                        (level.sigma * level.sigma))
                           .logsumexp(1);
  const Tensor score = torch::autograd::grad({log_p.sum()}, {at_x}, {}, true, true)[0];
  CHECK(distance(score_from_x0(x, of_points(x, level, {}).x0, level), score.detach()) <= 1e-10);
  Tensor divergence = at::zeros({16}, f64());
  for (int64_t d = 0; d < 2; ++d)
    divergence +=
        torch::autograd::grad({score.select(1, d).sum()}, {at_x}, {}, true)[0].select(1, d);
  const double s2 = level.sigma * level.sigma;
  CHECK(distance(s2 * (2 + s2 * divergence), level.alpha * level.alpha * var.sum({1, 2})) <= 1e-10);
}

TEST_CASE("ddim is Euler's method in sigma, on the same grid, on VE as on VP") {
  const Tensor start = starts(8, 20);
  for (const int64_t steps : {10, 40}) {
    Path ve_path, vp_path;
    for (int64_t i = 0; i <= steps; ++i) {
      const double sigma =
          20 * std::pow(0.05 / 20, static_cast<double>(i) / static_cast<double>(steps));
      const double alpha = 1 / std::sqrt(1 + sigma * sigma);
      ve_path.push_back({sigma, 1, sigma, 0, 1});
      vp_path.push_back({sigma, alpha, sigma * alpha, 0, 0});
    }
    Tensor y = start;
    for (size_t i = 0; i + 1 < ve_path.size(); ++i) {
      const double sigma = ve_path[i].sigma;
      y = y + (ve_path[i + 1].sigma - sigma) / sigma * (y - mixture_denoiser(y, ve_path[i], {}).x0);
    }
    const Tensor on_ve = ddim({0, false})(mixture_denoiser, start, ve_path, {}, no_noise(), {});
    const Tensor on_vp =
        ddim({0, false})(mixture_denoiser, start * vp_path[0].alpha, vp_path, {}, no_noise(), {}) /
        vp_path.back().alpha;
    // 3.8e-15 a step was measured where states are of order 1; these begin at 50.
    CHECK(distance(on_ve, y) <= 1e-13);
    CHECK(distance(on_vp, y) <= 1e-13);
  }
}

TEST_CASE("score matching to the noise is score matching to the score, plus a constant") {
  // Vincent 2011: the two losses differ by what does not depend on the model, here the least eps
  // loss alpha^2 var / (alpha^2 var + sigma^2) of Gaussian data.
  const NoiseLabel none = [](const Level&) { return 0.0; };
  for (const Level& level : {vp_linear().at(0.1), vp_linear().at(0.7), cosine().at(0.5)}) {
    for (const auto& [slope, shift] : {std::pair{0.0, 0.0}, {-0.8, 0.3}, {1.7, -2.0}}) {
      LinearScore network;
      network.slope = slope;
      network.shift = shift;
      const Tensor x0 = quadrature_x0(), eps = quadrature_eps();
      const double to_noise = denoising_loss(network, eps_prediction(none),
                                             simple_objective(vp_linear()), {x0, {}}, level, eps)
                                  .mean()
                                  .item<double>();
      const Tensor x_t = diffuse(x0, level, eps),
                   exact_eps = eps_from_x0(x_t, exact_x0(x_t, level), level);
      const double to_score =
          (network.forward(x_t, {}, {}) - exact_eps).square().mean().item<double>();
      const double floor = level.alpha * level.alpha * kVar / marginal_var(level);
      CHECK(is_near(to_noise - to_score, floor, 1e-12));
    }
  }
}
