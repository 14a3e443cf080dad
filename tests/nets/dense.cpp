// Dense layers as one operation in bf16 against LibTorch's own, in doubles.
#include "tweedie/nets/dense.h"

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <doctest/doctest.h>
#include <torch/autograd.h>

#include "tests/nets/make.h"
#include "tweedie/base/error.h"
#include "tweedie/kernels/kernels.h"
#include "tweedie/model/gradients_in_place.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// As a job of precision bf16 does it.
struct Autocast {
  Autocast() { at::autocast::set_cpu_enabled(true); }
  ~Autocast() {
    at::autocast::clear_cache();
    at::autocast::set_cpu_enabled(false);
  }
};

bool tiles() { return kernels::table().dense->fast; }

std::shared_ptr<Network> wide_mlp(const Json& more = Json::object()) {
  Json options = {
      {"width", 64}, {"blocks", 2}, {"time_channels", 36}, {"sample_shape", {3}}, {"classes", 4}};
  options.update(more);
  auto network = make_mlp(options);
  network->zero_initialised.clear();
  initialise(*network, 5);
  return network;
}

struct MlpResult {
  Tensor y;
  std::vector<Tensor> gradients;  // in x, then in all parameters
};

MlpResult run_mlp(Network& network, at::ScalarType type, int64_t batch) {
  network.to(type);
  const Tensor x = normal({batch, 3}).to(type).requires_grad_(true),
               label = (900 * normal({batch}, 2).abs()).to(type);
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < batch; ++i) labels.push_back(i % 5);
  const Tensor y = network.forward(x, label, classes(labels));
  std::vector<Tensor> in = {x};
  for (const Tensor& p : network.parameters()) in.push_back(p);
  return {y.detach(), torch::autograd::grad({y}, in, {normal(y.sizes(), 4).to(y.scalar_type())})};
}

MlpResult run_in_tiles(Network& network, int64_t batch) {
  const Autocast autocast;
  return run_mlp(network, at::kFloat, batch);
}

double error_of(const Tensor& got, const Tensor& expected) {
  return (got.to(at::kDouble) - expected).norm().item<double>() / expected.norm().item<double>();
}

}  // namespace

TEST_CASE("an MLP in bf16 and all its gradients are LibTorch's, up to rounding") {
  if (!tiles()) return;
  for (const Json& more : {Json::object(), Json({{"fourier_features", {0, 2}}, {"blocks", 1}}),
                           Json({{"learned_variance", true}, {"width", 96}})})
    for (const int64_t batch : {1, 37, 200}) {
      CAPTURE(more.dump());
      CAPTURE(batch);
      const MlpResult expected = run_mlp(*wide_mlp(more), at::kDouble, batch);
      const MlpResult got = run_in_tiles(*wide_mlp(more), batch);
      CHECK((got.y.scalar_type() == at::kFloat));
      CHECK(error_of(got.y, expected.y) < 0.01);
      for (size_t i = 0; i < expected.gradients.size(); ++i) {
        CAPTURE(i);
        CHECK(error_of(got.gradients[i], expected.gradients[i]) < 0.02);
      }
    }
}

TEST_CASE("an MLP's bits in bf16 do not depend on threads or gradients, a row's not on the batch") {
  if (!tiles()) return;
  const auto network = wide_mlp();
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const MlpResult one = run_in_tiles(*network, 200);
  at::set_num_threads(2);
  const MlpResult two = run_in_tiles(*network, 200);
  at::set_num_threads(threads);
  CHECK(at::equal(one.y, two.y));
  for (size_t i = 0; i < one.gradients.size(); ++i)
    CHECK(at::equal(one.gradients[i], two.gradients[i]));
  CHECK(at::equal(run_in_tiles(*network, 50).y, one.y.narrow(0, 0, 50)));
  const Autocast autocast;
  const torch::NoGradGuard no_grad;
  const Tensor x = normal({5, 3}), label = at::arange(5, at::kFloat);
  const Tensor alone = network->forward(x, label, {});
  const at::AutoGradMode with_grad(true);
  CHECK(at::equal(network->forward(x, label, {}).detach(), alone));
}

TEST_CASE("an MLP in bf16 sees new weights, and an old graph keeps its own") {
  if (!tiles()) return;
  const Autocast autocast;
  const auto network = wide_mlp();
  const Tensor x = normal({5, 3}).requires_grad_(true), label = at::arange(5, at::kFloat);
  const Tensor before = network->forward(x, label, {});
  {
    const torch::NoGradGuard no_grad;
    for (Tensor p : network->parameters()) p.mul_(2);
  }
  const Tensor after = network->forward(x, label, {});
  CHECK(distance(before, after) > 1e-3);
  const Tensor dx = torch::autograd::grad({before.sum()}, {x})[0];
  {
    const torch::NoGradGuard no_grad;
    for (Tensor p : network->parameters()) p.mul_(0.5);
  }
  CHECK(at::equal(torch::autograd::grad({network->forward(x, label, {}).sum()}, {x})[0], dx));
}

TEST_CASE("gradients of an MLP added in place are those that autograd adds") {
  if (!tiles()) return;
  const Autocast autocast;
  const auto network = wide_mlp();
  for (Tensor p : network->parameters()) p.mutable_grad() = at::zeros_like(p);
  const Tensor x = normal({70, 3}), label = at::arange(70, at::kFloat);
  const auto backward = [&] { network->forward(x, label, {}).square().sum().backward(); };
  backward();
  std::vector<Tensor> expected;
  for (Tensor p : network->parameters()) {
    expected.push_back(p.grad() * 2);
    p.mutable_grad().zero_();
  }
  const GradientsInPlace in_place;
  backward();
  backward();
  for (size_t i = 0; i < expected.size(); ++i)
    CHECK(at::allclose(network->parameters()[i].grad(), expected[i], 1e-5, 1e-5));
}

TEST_CASE("what the kernels of dense layers cannot do is LibTorch's, or refused") {
  if (!tiles()) return;
  const Autocast autocast;
  const Tensor x = normal({5, 3}).requires_grad_(true), label = at::arange(5, at::kFloat);
  for (const Json& more : {Json({{"width", 48}}), Json({{"time_channels", 7}})})
    CHECK((wide_mlp(more)->forward(x, label, {}).scalar_type() == at::kBFloat16));
  const Tensor y = wide_mlp()->forward(x, label, {});
  CHECK_THROWS_WITH_AS(torch::autograd::grad({y.sum()}, {x}, {}, true, /*create_graph=*/true),
                       doctest::Contains("precision=fp32"), Error);
  CHECK(wide_mlp()->forward(x.narrow(0, 0, 0), label.narrow(0, 0, 0), {}).sizes() ==
        at::IntArrayRef({0, 3}));
}
