#include "tweedie/jobs/optimiser.h"

#include <ATen/CPUGeneratorImpl.h>
#include <doctest/doctest.h>

#include <cmath>

#include "tweedie/jobs/update_on_device.h"

using namespace tweedie;

namespace {

/// Two parameters whose gradients a test sets.
struct Weights : Network {
  Tensor a = register_parameter("a", at::tensor({1.0F, -2.0F, 0.5F}));
  Tensor b = register_parameter("b", at::full({2, 2}, 3.0F));
  Tensor forward(const Tensor& x, const Tensor&, const Condition&) override { return x; }
  void set_gradients(float of_a, float of_b) {
    const torch::NoGradGuard no_grad;
    a.mutable_grad().fill_(of_a);
    b.mutable_grad().fill_(of_b);
  }
};

TrainConfig config_with(std::vector<double> ema, bool warmup) {
  TrainConfig config;
  config.ema = std::move(ema);
  config.ema_warmup = warmup;
  return config;
}

double distance(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

constexpr int kSteps = 100;

}  // namespace

TEST_CASE("under a constant gradient the weights move evenly and every average lags as it must") {
  // Adam's quotient of moments is then 1: w_n = w_0 - n d, and the average is
  // a_n = w_0 - d (n - r (1 - r^n) / (1 - r)).
  Weights network;
  const Tensor w0 = network.a.detach().clone();
  const double d = 1e-2;
  Optimiser optimiser(network, config_with({0.0, 0.9, 0.999}, false));
  for (int n = 1; n <= kSteps; ++n) {
    network.set_gradients(0.25F, -0.5F);
    optimiser.step(n, d, 1);
  }
  const auto tensors = optimiser.tensors();
  const double tolerance = kSteps * 2e-7;  // each step rounds numbers of up to 3
  CHECK(distance(tensors.at("weights.a"), w0 - kSteps * d) < tolerance);
  CHECK(distance(tensors.at("weights.b"), at::full({2, 2}, 3 + kSteps * d)) < tolerance);
  for (const auto& [rate, name] : {std::pair{0.0, "0.0"}, {0.9, "0.9"}, {0.999, "0.999"}}) {
    CAPTURE(rate);
    const double lag = rate * (1 - std::pow(rate, kSteps)) / (1 - rate);
    CHECK(distance(tensors.at("ema." + std::string(name) + ".a"), w0 - d * (kSteps - lag)) <
          tolerance);
  }
}

TEST_CASE("with warm-up the average forgets the start as (n+1)! 10! / (n+10)!") {
  // The product of (1 + i) / (10 + i), as long as it stays below the rate.
  Weights network;
  Optimiser optimiser(network, config_with({0.9999, 0.5}, true));
  auto tensors = optimiser.tensors();
  const Tensor start = tensors["weights.a"].clone(), end = start + 1;
  tensors["weights.a"].copy_(end);  // the averages are at `start`, and the weights stay
  double left = 1, left_of_half = 1;
  for (int n = 1; n <= kSteps; ++n) {
    network.set_gradients(0, 0);
    optimiser.step(n, 1e-2, 1);
    left *= (1.0 + n) / (10.0 + n);
    left_of_half *= std::min(0.5, (1.0 + n) / (10.0 + n));
    CHECK(distance(tensors["ema.0.9999.a"], end - left) < 1e-6);  // roundings of 1, which decay
    CHECK(distance(tensors["ema.0.5.a"], end - left_of_half) < 1e-6);
  }
  const double closed =
      std::exp(std::lgamma(kSteps + 2.0) + std::lgamma(11.0) - std::lgamma(kSteps + 11.0));
  CHECK(left == doctest::Approx(closed).epsilon(1e-12));
  CHECK(distance(tensors["weights.a"], end) == 0);
}

TEST_CASE("exchanging the weights with an average twice changes nothing") {
  Weights network;
  Optimiser optimiser(network, config_with({0.9, 0.99}, false));
  network.set_gradients(1, 1);
  optimiser.step(1, 0.1, 1);
  const auto tensors = optimiser.tensors();
  const Tensor weights = network.a.detach().clone(), average = tensors.at("ema.0.99.a").clone();
  CHECK(distance(weights, average) > 0.01);
  optimiser.swap_average(1);
  CHECK(at::equal(network.a.detach(), average));
  optimiser.swap_average(1);
  CHECK(at::equal(network.a.detach(), weights));
  CHECK(at::equal(tensors.at("ema.0.99.a"), average));
  CHECK_THROWS_AS(optimiser.swap_average(2), Error);
}

TEST_CASE("the gradient's norm is that of all parameters, and a step scales what it is given") {
  Weights network;
  Optimiser optimiser(network, config_with({}, false));
  network.set_gradients(1, -2);
  CHECK(optimiser.gradient_norm() == doctest::Approx(std::sqrt(3 + 4 * 4.0)).epsilon(1e-12));
  optimiser.step(1, 0, 0.5);
  CHECK(distance(optimiser.tensors().at("adam.m.b"), at::full({2, 2}, -0.1)) <
        5e-8);  // 1 - 0.9 in float32
  optimiser.zero_gradients();
  CHECK(optimiser.gradient_norm() == 0);
}

TEST_CASE("a checkpoint of another network is refused by the name of what does not fit") {
  Weights network;
  Optimiser optimiser(network, config_with({0.9}, false));
  auto tensors = optimiser.tensors();
  tensors["weights.b"] = at::zeros({2, 3});
  CHECK_THROWS_WITH_AS(optimiser.load(tensors), doctest::Contains("'weights.b' has shape [2, 3]"),
                       Error);
  tensors.erase("weights.b");
  CHECK_THROWS_WITH_AS(optimiser.load(tensors), doctest::Contains("lacks 'weights.b'"), Error);
}

namespace {

FlatBuffers random_buffers(int64_t count) {
  const auto normal = [&](uint64_t seed) {
    return at::randn({count}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat);
  };
  return {normal(1), normal(2), normal(3), normal(4).square(), {normal(5), normal(6)}};
}

}  // namespace

TEST_CASE("where there are no twins, LibTorch's operations make the kernels' update") {
  const kernels::AdamStep step{0.7F, 0.9F, 0.999F, 1e-2F, 3.0F, 1e-8F, 1e-3F, 1e-4F};
  const std::vector<float> keeps = {0.9F, 0.999F};
  constexpr int64_t kCount = 1001;
  const FlatBuffers ours = random_buffers(kCount), expected = random_buffers(kCount);
  const kernels::Average averages[] = {{expected.averages[0].data_ptr<float>(), keeps[0]},
                                       {expected.averages[1].data_ptr<float>(), keeps[1]}};
  for (int i = 0; i < 3; ++i) {
    adam_on_device(step, ours, keeps);
    kernels::table().adam(step, kCount, expected.weights.data_ptr<float>(),
                          expected.gradients.data_ptr<float>(),
                          expected.first_moment.data_ptr<float>(),
                          expected.second_moment.data_ptr<float>(), averages, 2);
  }
  // Numbers of up to 12, a few roundings of float32 in each of 3 steps.
  CHECK(distance(ours.weights, expected.weights) < 5e-6);
  CHECK(distance(ours.first_moment, expected.first_moment) < 2e-6);
  CHECK(distance(ours.second_moment, expected.second_moment) < 5e-6);
  for (size_t k = 0; k < 2; ++k) CHECK(distance(ours.averages[k], expected.averages[k]) < 2e-6);
  const double sum = kernels::table().sum_of_squares(kCount, ours.weights.data_ptr<float>());
  CHECK(sum_of_squares_on_device(ours.weights) == doctest::Approx(sum).epsilon(1e-12));
}
