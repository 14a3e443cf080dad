// The blocks on float32 images against LibTorch's operations in float32.
#include <doctest/doctest.h>

#include <ATen/Parallel.h>

#include "tests/nets/gradients.h"
#include "tweedie/kernels/kernels.h"
#include "tweedie/nets/image_blocks.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// Whether kernels=fast goes by way of these blocks here.
bool tested() {
  const bool fast = fast_images(at::zeros({1})) == at::kFloat;
  if (!fast) MESSAGE("left out: these kernels leave float32 to LibTorch");
  return fast;
}

std::shared_ptr<Network> with_kernels(const NetCase& c, const char* kernels) {
  Json options = c.options;
  options["zero_init"] = false;
  options["kernels"] = kernels;
  return unet(c.shape, options);
}

/// Sizes for which convolutions go by Winograd's algorithm.
const NetCase kLarge = {"large", {3, 16, 16}, {{"channels", 64}, {"attention", {8}}}};

}  // namespace

TEST_CASE("a U-Net on float32 images is the U-Net of LibTorch's operations") {
  if (!tested()) return;
  std::vector<NetCase> cases = net_cases();
  cases.push_back(kLarge);
  for (const NetCase& c : cases) {
    CAPTURE(std::string(c.name));
    const Gradients a = gradients(*with_kernels(c, "fast"), c.shape, 3),
                    b = gradients(*with_kernels(c, "reference"), c.shape, 3);
    CHECK(relative_error(a.y, b.y) < 1e-5);
    double square = 0;
    for (const auto& [name, gradient] : b.of) square += gradient.square().sum().item<double>();
    for (const auto& [name, gradient] : b.of) {
      CAPTURE(name);
      CHECK(a.of.at(name).sizes() == gradient.sizes());
      const double difference = (a.of.at(name) - gradient).norm().item<double>();
      // A bias before a norm has no gradient but for roundings: those of all gradients.
      CHECK(difference < 1e-4 * gradient.norm().item<double>() + 1e-6 * std::sqrt(square));
    }
  }
}

TEST_CASE("the gradient of a float32 U-Net's input alone is the one beside all gradients") {
  if (!tested()) return;
  const auto network = with_kernels(kLarge, "fast");
  const Gradients all = gradients(*network, kLarge.shape, 3);
  for (auto& parameter : network->parameters()) parameter.set_requires_grad(false);
  Tensor x = first_normals(1, 3, kLarge.shape).requires_grad_(true);
  network->seed = 4;
  network->step = 5;
  const Tensor y = network->forward(x, at::arange(3, at::kFloat) * 100 + 3, {});
  const Tensor dx = torch::autograd::grad({(y * first_normals(2, 3, kLarge.shape)).sum()}, {x})[0];
  CHECK(relative_error(dx, all.of.at("x")) < 1e-5);
}

TEST_CASE(
    "with one thread and with two a U-Net on float32 images gives the same bits, but for the order "
    "of sums in weight gradients") {
  if (!tested()) return;
  const auto network = with_kernels(kLarge, "fast");
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Gradients one = gradients(*network, kLarge.shape, 16);
  at::set_num_threads(2);
  const Gradients two = gradients(*network, kLarge.shape, 16);
  at::set_num_threads(threads);
  CHECK(at::equal(one.y, two.y));
  CHECK(at::equal(one.of.at("x"), two.of.at("x")));
  double square = 0;
  for (const auto& [name, gradient] : one.of) square += gradient.square().sum().item<double>();
  for (const auto& [name, gradient] : one.of) {
    CAPTURE(name);
    CHECK((gradient - two.of.at(name)).norm().item<double>() < 1e-6 * std::sqrt(square));
  }
}

TEST_CASE("doubles stay with LibTorch's operations") {
  const auto network = with_kernels(kLarge, "fast"), reference = with_kernels(kLarge, "reference");
  network->to(at::kDouble);
  reference->to(at::kDouble);
  const Tensor x = first_normals(1, 2, kLarge.shape).to(at::kDouble),
               t = at::arange(2, at::kDouble);
  CHECK(at::equal(network->forward(x, t, {}), reference->forward(x, t, {})));
}
