#include <doctest/doctest.h>

#include <numbers>

#include "tests/nets/make.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/nets/embedding.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

Json mlp_options(int64_t dims, const Json& more = Json::object()) {
  Json options = {{"width", 16}, {"blocks", 2}, {"time_channels", 8}, {"sample_shape", {dims}}};
  options.update(more);
  return options;
}

/// With the zeros of its start replaced by random numbers: a zero network hides what it is told.
std::shared_ptr<Network> mlp(int64_t dims, const Json& more = Json::object()) {
  auto network = make_mlp(mlp_options(dims, more));
  network->zero_initialised.clear();
  initialise(*network, 5);
  return network;
}

std::string mlp_refusal(const Json& more) {
  return refusal([&] { make_mlp(mlp_options(2, more)); });
}

}  // namespace

TEST_CASE("an MLP keeps the number of dimensions, learned variances double it") {
  for (const int64_t dims : {1, 2, 7})
    for (const Json& features : {Json::array(), Json({0, 3})}) {
      const Json more = {{"fourier_features", features}};
      CHECK(output(*mlp(dims, more), {dims}, 5).sizes() == at::IntArrayRef({5, dims}));
      Json learned = more;
      learned["learned_variance"] = true;
      CHECK(output(*mlp(dims, learned), {dims}, 5).sizes() == at::IntArrayRef({5, 2 * dims}));
    }
}

TEST_CASE("an MLP takes an array of any shape as the vector of its numbers") {
  for (const bool learned : {false, true}) {
    const Json more = {{"learned_variance", learned}};
    Json shaped = more;
    shaped["sample_shape"] = {2, 1, 3, 2};
    const Tensor x = at::arange(60, at::kDouble).sin().view({5, 2, 1, 3, 2}),
                 noise = at::linspace(-1, 1, 5, at::kDouble);
    const auto vectors = mlp(12, more), arrays = mlp(12, shaped);
    vectors->to(at::kDouble);
    arrays->to(at::kDouble);
    const Tensor y = arrays->forward(x, noise, {});
    CHECK(y.sizes() == at::IntArrayRef({5, learned ? 4 : 2, 1, 3, 2}));
    CHECK(at::equal(y.flatten(1), vectors->forward(x.flatten(1), noise, {})));
  }
  CHECK(says(mlp_refusal({{"sample_shape", {4096, 4096, 4096}}}), "expected 1 to 16777216"));
  CHECK(says(mlp_refusal({{"sample_shape", {1L << 62, 4}}}), "expected 1 to 16777216"));
  CHECK(says(mlp_refusal({{"sample_shape", {3, 0}}}), "data of shape [3,0]"));
}

TEST_CASE("an MLP starts at zero, and depends on its input, its label and its class") {
  auto fresh = make_mlp(mlp_options(2));
  initialise(*fresh, 1);
  CHECK(output(*fresh, {2}).abs().max().item<float>() == 0);
  const auto network = mlp(2, {{"classes", 3}});
  const Tensor x = normal({2, 2}), label = at::tensor({5.0F, 800.0F});
  const Tensor none = network->forward(x, label, {});
  CHECK(at::equal(network->forward(x, label, classes({3, 3})), none));
  CHECK(distance(network->forward(x, label, classes({0, 2})), none) > 1e-3);
  CHECK(distance(network->forward(x, label + 100, {}), none) > 1e-3);
  CHECK(distance(network->forward(x + 1, label, {}), none) > 1e-3);
}

TEST_CASE("an MLP refuses classes that do not exist") {
  const auto network = mlp(2, {{"classes", 3}});
  for (const int64_t wrong : {4, -1})
    CHECK_THROWS_WITH_AS(output(*network, {2}, 2, classes({0, wrong})),
                         doctest::Contains(std::to_string(wrong).c_str()), Error);
  CHECK_THROWS_AS(output(*network, {2}, 2, classes({0})), Error);
}

TEST_CASE("impossible MLPs are refused, each with its reason") {
  CHECK(says(mlp_refusal({{"width", 0}}), "model.width"));
  CHECK(says(mlp_refusal({{"blocks", 0}}), "model.blocks"));
  CHECK(says(mlp_refusal({{"time_channels", 1}}), "model.time_channels"));
  CHECK(says(mlp_refusal({{"fourier_features", {99}}}), "fourier_features"));
  CHECK(says(mlp_refusal({{"widht", 3}}), "did you mean 'width'"));
}

TEST_CASE("the features of a label are its cosines and sines at falling frequencies") {
  const Tensor label = at::tensor({0.0, 3.0, 999.0}, at::kDouble);
  for (const double shift : {0.0, 1.0}) {
    const Tensor features = positional_features(label, {8, true, shift});
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t k = 0; k < 4; ++k) {
        const double angle =
            label[i].item<double>() * std::pow(1e4, -static_cast<double>(k) / (4 - shift));
        CHECK(std::abs(features[i][k].item<double>() - std::cos(angle)) < 1e-12);
        CHECK(std::abs(features[i][k + 4].item<double>() - std::sin(angle)) < 1e-12);
      }
    const Tensor sines_first = positional_features(label, {8, false, shift});
    CHECK(at::equal(sines_first.slice(1, 4), features.slice(1, 0, 4)));
  }
  CHECK(positional_features(label, {7}).sizes() == at::IntArrayRef({3, 7}));
}

TEST_CASE("Fourier features are the input and its sines and cosines at powers of two") {
  const Tensor x = at::tensor({0.3, -0.7}, at::kDouble).view({1, 2});
  const Tensor features = fourier_features(x, {0, 5});
  CHECK(features.sizes() == at::IntArrayRef({1, 10}));
  const double pi = std::numbers::pi;
  const Tensor expected =
      at::cat({x, (pi * x).sin(), (pi * x).cos(), (32 * pi * x).sin(), (32 * pi * x).cos()}, 1);
  CHECK(distance(features, expected) < 1e-13);
  CHECK(at::equal(fourier_features(x, {}), x));
}
