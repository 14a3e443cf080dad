#include "tweedie/model/learned_schedule.h"

#include <doctest/doctest.h>
#include <torch/autograd.h>

#include "tests/model/gaussian.h"
#include "tweedie/base/error.h"
#include "tweedie/tensor/random.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

constexpr double kFirst = -6, kLast = 4;  // gamma

Tensor keyed_row(Stream stream, int64_t size, int64_t step = 0) {
  return keyed_normal({3, stream}, {0}, step, {size}).flatten().to(at::kDouble);
}

/// A curve far from the straight line that it begins as, with the same ends; in doubles.
std::shared_ptr<MonotoneGamma> bent(double strength, int64_t number = 0) {
  const auto gamma = std::make_shared<MonotoneGamma>(kFirst, kLast);
  gamma->to(at::kDouble);
  const torch::NoGradGuard no_grad;
  int64_t place = 100 * number;
  for (auto& parameter : gamma->named_parameters())
    if (parameter.key().find("shift") == std::string::npos)
      parameter.value().add_(strength *
                             keyed_row(Stream::weights, parameter.value().numel(), ++place));
  return gamma;
}

/// E[eps | x_t] of the Gaussian data, told gamma by its label.
struct GaussianNetwork : Network {
  std::shared_ptr<MonotoneGamma> gamma;
  Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition&) override {
    const Tensor g = (kFirst + c_noise * ((kLast - kFirst) / 1000)).view({-1, 1});
    const Tensor alpha = at::sigmoid(-g).sqrt(), sigma = at::sigmoid(g).sqrt();
    return sigma * (x - alpha * kMean) / (alpha.square() * kVar + sigma.square());
  }
};

struct Draws {
  Tensor x0, t, eps;
};

Draws draws(int64_t count, int64_t step) {
  std::vector<int64_t> all(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) all[static_cast<size_t>(i)] = i;
  const auto normal = [&](Stream stream) {
    return keyed_normal({5, stream}, all, step, {1}).to(at::kDouble);
  };
  return {kMean + std::sqrt(kVar) * normal(Stream::data),
          keyed_uniform({5, Stream::levels}, all, step, {}).to(at::kDouble), normal(Stream::noise)};
}

Tensor loss_of(const MonotoneGamma& gamma, const Draws& d) {
  GaussianNetwork network;
  return learned_schedule_loss(network, gamma, {d.x0, {}}, d.t, d.eps, 0);
}

/// What depends on t alone: the loss without the prior's and the decoder's part.
Tensor diffusion_of(const MonotoneGamma& gamma, const Draws& d) {
  const Draws nothing{d.x0, d.t, d.eps};
  const MonotoneGamma::Ends ends = gamma.ends();
  const double g1 = (ends.gamma_min + ends.range).item<double>();
  const Tensor prior = 0.5 * (d.x0.square().flatten() / (1 + std::exp(g1)) +
                              1 / (1 + std::exp(-g1)) - 1 + std::log1p(std::exp(-g1)));
  const Tensor decoder = 0.5 * (std::log(2 * std::numbers::pi) + 1 + ends.gamma_min);
  return loss_of(gamma, nothing) - prior - decoder;
}

double mean_of(const Tensor& x) { return x.mean().item<double>(); }

/// Central difference of `value` in one entry of a parameter.
template <class Value>
double difference(Tensor parameter, int64_t entry, const Value& value) {
  constexpr double h = 1e-5;
  const torch::NoGradGuard no_grad;
  parameter.view(-1)[entry] += h;
  const double above = value();
  parameter.view(-1)[entry] -= 2 * h;
  const double below = value();
  parameter.view(-1)[entry] += h;
  return (above - below) / (2 * h);
}

}  // namespace

TEST_CASE("gamma rises whatever its parameters, from end to end") {
  for (int64_t number = 0; number < 20; ++number) {
    const Tensor table = bent(3, number)->table(4001);
    CHECK((table[0].narrow(0, 1, 4000) - table[0].narrow(0, 0, 4000)).min().item<double>() >= 0);
    CHECK(table[1].min().item<double>() > 0);
    CHECK(is_near(table[0][0].item<double>(), kFirst, 1e-12));
    CHECK(is_near(table[0][4000].item<double>(), kLast, 1e-12));
  }
}

TEST_CASE("gamma begins nearly straight") {
  const Tensor t = at::linspace(0, 1, 101, at::kDouble);
  CHECK(distance(MonotoneGamma(kFirst, kLast).interior(t).share, t) < 0.05);
}

TEST_CASE("the frozen table reproduces gamma and its slope") {
  for (int64_t number = 0; number < 5; ++number) {
    const auto gamma = bent(1, number);
    const Schedule frozen = frozen_schedule(gamma->table());
    const Tensor fine = gamma->table(10007);
    double most = 0, of_slope = 0;
    for (int64_t i = 0; i < 10007; ++i) {
      const Level l = frozen.at(static_cast<double>(i) / 10006);
      most = std::max(most, std::abs(-log_snr(l) - fine[0][i].item<double>()));
      const double slope = 2 * (l.d_sigma / l.sigma - l.d_alpha / l.alpha);
      of_slope = std::max(of_slope, std::abs(slope / fine[1][i].item<double>() - 1));
    }
    CHECK(most <= 1e-6);
    CHECK(of_slope <= 1e-3);
  }
}

TEST_CASE("the bound of Gaussian data is the same for every interior, by quadrature") {
  const auto part = [](double gamma) { return 0.5 * std::log1p(kVar * std::exp(-gamma)); };
  const double expected = part(kFirst) - part(kLast);
  for (int64_t number = 0; number < 5; ++number) {
    const auto gamma = bent(0.5, number);
    // Simpson's rule; 1/2 gamma' E|eps - eps_hat|^2, whose last factor is the least eps error.
    const int64_t points = 40001;
    const Tensor table = gamma->table(points);
    const Tensor snr = (-table[0]).exp() * kVar;
    const Tensor integrand = 0.5 * table[1] * snr / (1 + snr);
    Tensor weight = at::full({points}, 2.0, at::kDouble);
    weight.index_put_({at::arange(1, points, 2)}, at::full({1}, 4.0, at::kDouble));
    weight[0] = weight[points - 1] = 1.0;
    const double found = integrand.dot(weight).item<double>() / (3.0 * (points - 1));
    CHECK(is_near(found, expected, 1e-8));
  }
}

TEST_CASE("the loss estimates the same bound for every interior, within 3 standard errors") {
  const torch::NoGradGuard no_grad;
  const auto part = [](double gamma) { return 0.5 * std::log1p(kVar * std::exp(-gamma)); };
  for (int64_t number = 0; number < 4; ++number) {
    const auto gamma = bent(0.5, number);
    const Tensor loss = diffusion_of(*gamma, draws(20000, number));
    const double error = loss.std().item<double>() / std::sqrt(20000.0);
    CHECK(std::abs(mean_of(loss) - (part(kFirst) - part(kLast))) <= 3 * error);
  }
}

TEST_CASE("the whole loss bounds the entropy of the data, and nearly reaches it") {
  const torch::NoGradGuard no_grad;
  const MonotoneGamma gamma(-12, 8);
  struct Network12 : GaussianNetwork {
    Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition& c) override {
      // The same network with the other marks of its label.
      const Tensor g = -12 + c_noise * (20.0 / 1000);
      return GaussianNetwork::forward(x, (g - kFirst) * (1000 / (kLast - kFirst)), c);
    }
  } network;
  const Draws d = draws(40000, 1);
  const Tensor loss = learned_schedule_loss(network, gamma, {d.x0, {}}, d.t, d.eps, 0);
  const double error = loss.std().item<double>() / 200;
  CHECK(std::abs(mean_of(loss) - entropy()) <= 3 * error + 1e-3);
}

TEST_CASE(
    "the gradient in the ends is the bound's, the gradient in the interior that of the square") {
  const auto gamma = bent(0.5);
  const Draws d = draws(64, 0);
  loss_of(*gamma, d).mean().backward();
  const double range = kLast - kFirst;
  const auto bound = [&] { return mean_of(loss_of(*gamma, d)); };
  const auto square = [&] {
    return mean_of(diffusion_of(*gamma, d).square()) / (range * range / 4);
  };
  for (auto& parameter : gamma->named_parameters()) {
    CAPTURE(parameter.key());
    const bool end = parameter.key().find("shift") != std::string::npos;
    for (int64_t entry = 0; entry < std::min<int64_t>(parameter.value().numel(), 3); ++entry) {
      const double got = parameter.value().grad()[entry].item<double>();
      const double expected = end ? difference(parameter.value(), entry, bound)
                                  : difference(parameter.value(), entry, square);
      CHECK(is_near(got, expected, 1e-8 + 1e-6 * std::abs(expected)));
    }
  }
}

TEST_CASE("the decoder's part is the softmax of the levels at gamma_min") {
  const MonotoneGamma gamma(-5, 4);
  struct Zero : Network {
    Tensor forward(const Tensor& x, const Tensor&, const Condition&) override {
      return at::zeros_like(x);
    }
  } network;
  const torch::NoGradGuard no_grad;
  const Tensor x0 = at::tensor({-1.0, 3.0 / 7, 1.0}, f64()).view({1, 3});
  const Tensor eps = at::tensor({0.4, -1.0, 2.0}, f64()).view({1, 3}),
               t = at::full({1}, 0.5, f64());
  const Level first = frozen_schedule(gamma.table()).at(0);
  const Tensor of_decoder = softmax_decoder(8)({}, diffuse(x0, first, eps), first, x0).neg() / 3;
  const Tensor flat = learned_schedule_loss(network, gamma, {x0, {}}, t, eps, 0);
  const Tensor quantised = learned_schedule_loss(network, gamma, {x0, {}}, t, eps, 8);
  const double of_flat = 0.5 * (std::log(2 * std::numbers::pi) + 1 - 5);
  CHECK(is_near((quantised - flat).item<double>(), of_decoder.item<double>() - of_flat, 1e-9));
}

TEST_CASE(
    "the decoder's gradient in gamma_min is its difference quotient, of each example its own") {
  struct Zero : Network {
    Tensor forward(const Tensor& x, const Tensor&, const Condition&) override {
      return at::zeros_like(x);
    }
  } network;
  const Tensor x0 =
      at::tensor({-1.0, 3.0 / 7, 1.0, -5.0 / 7, 1.0 / 7, 5.0 / 7}, f64()).view({2, 3});
  const Tensor eps = at::tensor({0.4, -1.0, 2.0, 0.1, -0.3, 1.2}, f64()).view({2, 3}),
               t = at::full({2}, 0.5, f64());
  // The quantised loss less the flat one leaves the decoder, whose flat part is known.
  const auto of_decoder = [&](const MonotoneGamma& gamma) {
    return learned_schedule_loss(network, gamma, {x0, {}}, t, eps, 8) -
           learned_schedule_loss(network, gamma, {x0, {}}, t, eps, 0);
  };
  MonotoneGamma gamma(-2, 4);
  const Tensor shift = gamma.named_parameters()["gamma_min_shift"];
  const double h = 1e-3;
  const MonotoneGamma above(-2 + h, 4), below(-2 - h, 4);
  for (int64_t i = 0; i < 2; ++i) {
    const Tensor slope = torch::autograd::grad({of_decoder(gamma)[i]}, {shift})[0];
    const torch::NoGradGuard no_grad;
    const double quotient = (of_decoder(above)[i] - of_decoder(below)[i]).item<double>() / (2 * h);
    CHECK(is_near(slope.item<double>(), quotient, 1e-5));
  }
}

TEST_CASE("following the gradient makes the estimate of the bound less noisy and leaves its mean") {
  const auto gamma = std::make_shared<MonotoneGamma>(kFirst, kLast);
  const auto spread = [&] {
    const torch::NoGradGuard no_grad;
    return diffusion_of(*gamma, draws(20000, 1000));
  };
  const Tensor before = spread();
  constexpr int64_t kDescent = 400;
  for (int64_t step = 0; step < kDescent; ++step) {
    for (Tensor& parameter : gamma->parameters()) parameter.mutable_grad() = Tensor();
    loss_of(*gamma, draws(256, step)).mean().backward();
    const torch::NoGradGuard no_grad;
    const double rate = 0.3 * (1 - static_cast<double>(step) / kDescent);
    for (auto& parameter : gamma->named_parameters())
      if (parameter.key().find("shift") == std::string::npos)
        parameter.value().sub_(rate * parameter.value().grad());
  }
  const Tensor after = spread();
  CHECK(after.var().item<double>() < 0.75 * before.var().item<double>());
  CHECK(std::abs(mean_of(after) - mean_of(before)) <=
        3 * (before - after).std().item<double>() / std::sqrt(20000.0));
}

TEST_CASE("impossible learned schedules are refused") {
  CHECK_THROWS_WITH_AS(MonotoneGamma(3, 3), doctest::Contains("gamma_min < gamma_max"), Error);
  CHECK_THROWS_WITH_AS(frozen_schedule(at::zeros({3, 4}, f64())), doctest::Contains("[2, knots]"),
                       Error);
}
