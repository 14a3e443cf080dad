#include "tweedie/nets/initialise.h"

#include <doctest/doctest.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "tests/nets/make.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

struct Layers : Network {
  Layers() {
    register_module("linear", torch::nn::Linear(50, 400));
    register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(12, 60, 3)));
    register_module("embedding", torch::nn::Embedding(100, 200));
    register_module("norm", torch::nn::GroupNorm(2, 8));
    register_module("zero", torch::nn::Linear(3, 3));
    zero_initialised = {"zero.weight"};
  }
  Tensor forward(const Tensor& x, const Tensor&, const Condition&) override { return x; }
};

/// Bounds, mean and variance of numbers uniform in +-bound.
void check_uniform(const Tensor& values, double bound) {
  const Tensor x = values.to(at::kDouble).flatten() / bound;
  const double count = static_cast<double>(x.numel());
  CHECK(x.abs().max().item<double>() <= 1);
  CHECK(x.abs().max().item<double>() > 1 - 10 / count);  // P(all below) = e^-10
  // 4 standard errors: variance 1/3 of x and 4/45 of x^2.
  CHECK(std::abs(x.mean().item<double>()) < 4 * std::sqrt(1.0 / 3 / count));
  CHECK(std::abs(x.square().mean().item<double>() - 1.0 / 3) < 4 * std::sqrt(4.0 / 45 / count));
}

}  // namespace

TEST_CASE("weights and biases are uniform in +-1/sqrt(fan-in), embeddings normal, norms 1 and 0") {
  Layers network;
  initialise(network, 3);
  auto parameters = network.named_parameters();
  check_uniform(parameters["linear.weight"], 1 / std::sqrt(50.0));
  check_uniform(parameters["linear.bias"], 1 / std::sqrt(50.0));
  check_uniform(parameters["conv.weight"], 1 / std::sqrt(12 * 9.0));
  const Tensor embedding = parameters["embedding.weight"].to(at::kDouble);
  CHECK(std::abs(embedding.mean().item<double>()) < 4 / std::sqrt(20000.0));
  CHECK(std::abs(embedding.square().mean().item<double>() - 1) < 4 * std::sqrt(2 / 20000.0));
  CHECK(at::equal(parameters["norm.weight"], at::ones(8)));
  CHECK(at::equal(parameters["norm.bias"], at::zeros(8)));
  CHECK(at::equal(parameters["zero.weight"], at::zeros({3, 3})));
  CHECK(parameters["zero.bias"].abs().max().item<float>() > 0);
}

TEST_CASE("equal seeds give equal weights, other seeds others, and every layer its own") {
  Layers a, b, c;
  initialise(a, 3);
  torch::manual_seed(99);  // nothing of LibTorch's generator is used
  initialise(b, 3);
  initialise(c, 4);
  auto first = a.named_parameters(), again = b.named_parameters(), other = c.named_parameters();
  for (const auto& parameter : first) {
    CAPTURE(parameter.key());
    CHECK(at::equal(parameter.value(), again[parameter.key()]));
    if (parameter.key().find("norm") == std::string::npos && parameter.key() != "zero.weight")
      CHECK_FALSE(at::equal(parameter.value(), other[parameter.key()]));
  }
  const Tensor one = first["linear.weight"].flatten().slice(0, 0, 100) * std::sqrt(50.0),
               two = first["conv.weight"].flatten().slice(0, 0, 100) * std::sqrt(108.0);
  CHECK(distance(one, two) > 0.1);
}

TEST_CASE("a layer more changes no other layer's numbers") {
  auto one = unet({1, 8, 8})->named_parameters();
  const auto more = unet({1, 8, 8}, {{"attention", {4, 8}}, {"classes", 3}})->named_parameters();
  CHECK(more.size() > one.size());
  for (const auto& parameter : one) {
    CAPTURE(parameter.key());
    CHECK(at::equal(*more.find(parameter.key()), parameter.value()));
  }
}

TEST_CASE("a zero-initialised parameter that does not exist is an error") {
  Layers network;
  network.zero_initialised.push_back("zreo.bias");
  CHECK_THROWS_WITH_AS(initialise(network, 0), doctest::Contains("'zreo.bias'"), Error);
}
