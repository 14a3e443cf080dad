// The error as one operation against LibTorch's own operations.
#include "tweedie/model/squared_error.h"

#include <doctest/doctest.h>
#include <torch/autograd.h>

#include "tweedie/tensor/random.h"

using namespace tweedie;

namespace {

Tensor numbers(std::vector<int64_t> sizes, uint64_t seed) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < sizes[0]; ++i) samples.push_back(i);
  return keyed_normal({seed, Stream::data}, samples, 0, at::IntArrayRef(sizes).slice(1));
}

struct ErrorAndGradient {
  Tensor error, gradient;
};

template <class Function>
ErrorAndGradient with_gradient(const Tensor& output, const Function& error) {
  const Tensor y = output.detach().requires_grad_(true), found = error(y);
  return {found.detach(), torch::autograd::grad({found.mean()}, {y})[0]};
}

}  // namespace

TEST_CASE("the error as one operation has the bits of LibTorch's operations, and its gradient") {
  for (const std::vector<int64_t>& sizes : std::vector<std::vector<int64_t>>{
           {5, 2}, {1, 3}, {7, 1}, {3, 2, 5, 7}, {2, 40000}, {0, 2}}) {
    CAPTURE(sizes[0]);
    CAPTURE(sizes[1]);
    std::vector<int64_t> column(sizes.size(), 1);
    column[0] = sizes[0];
    const MixedTarget target{numbers(sizes, 1), numbers(sizes, 2), numbers(column, 3),
                             numbers(column, 4)};
    const Tensor output = numbers(sizes, 5), weight = numbers({sizes[0]}, 6);
    const ErrorAndGradient got = with_gradient(
        output, [&](const Tensor& y) { return weighted_squared_error(y, target, weight); });
    const ErrorAndGradient expected = with_gradient(output, [&](const Tensor& y) {
      const Tensor mixed = target.of_x0 * target.x0 + target.of_eps * target.eps;
      return weight * (y - mixed).square().flatten(1).mean(1);
    });
    CHECK(got.error.sizes() == at::IntArrayRef({sizes[0]}));
    CHECK(at::allclose(got.error, expected.error, 1e-6, 0));
    CHECK(at::allclose(got.gradient, expected.gradient, 1e-6, 0));
#if defined(__x86_64__)
    CHECK(at::equal(got.error, expected.error));
    CHECK(at::equal(got.gradient, expected.gradient));
#endif
  }
}

TEST_CASE("an error that the kernel cannot do is LibTorch's") {
  const MixedTarget target{numbers({4, 3}, 1), numbers({4, 3}, 2), numbers({4, 1}, 3),
                           numbers({4, 1}, 4)};
  const Tensor output = numbers({4, 3}, 5), weight = numbers({4}, 6);
  const Tensor expected = weighted_squared_error(output, target, weight);
  MixedTarget moving = target;
  moving.x0 = target.x0.detach().requires_grad_(true);
  const Tensor got = weighted_squared_error(output, moving, weight);
  CHECK(at::equal(got, expected));
  CHECK(torch::autograd::grad({got.sum()}, {moving.x0})[0].abs().max().item<float>() > 0);
  const Tensor turned = output.t().contiguous().t();
  CHECK(at::equal(weighted_squared_error(turned, target, weight), expected));
}
