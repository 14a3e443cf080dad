// Our one-pass GroupNorm with SiLU against LibTorch's own operations.
#include "tweedie/nets/norm.h"

#include <doctest/doctest.h>
#include <torch/autograd.h>

#include "tests/nets/make.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

struct Norm {
  Tensor x, weight, bias;
  int64_t groups;
};

struct Result {
  Tensor y;
  std::vector<Tensor> gradients;  // in x, weight and bias
};

constexpr double kEpsilon = 1e-5;

Norm example(at::IntArrayRef shape, int64_t groups) {
  return {normal(shape) + 0.5, normal({shape[1]}, 2) + 1, normal({shape[1]}, 3), groups};
}

/// `f` and its gradients, weighted by fixed numbers, in the given type.
template <class Function>
Result run(const Norm& norm, at::ScalarType type, const Function& f) {
  std::vector<Tensor> in;
  for (const Tensor& t : {norm.x, norm.weight, norm.bias})
    in.push_back(t.detach().to(type).requires_grad_(true));
  const Tensor y = f(in[0], in[1], in[2]);
  const Tensor dy = normal(norm.x.sizes(), 4).to(type);
  return {y.detach(), torch::autograd::grad({y}, in, {dy})};
}

Result ours(const Norm& norm, bool silu, at::ScalarType type = at::kFloat) {
  return run(norm, type, [&](const Tensor& x, const Tensor& weight, const Tensor& bias) {
    return group_norm(x, norm.groups, weight, bias, kEpsilon, silu);
  });
}

Result libtorch(const Norm& norm, bool silu) {
  return run(norm, at::kDouble, [&](const Tensor& x, const Tensor& weight, const Tensor& bias) {
    const Tensor y = at::group_norm(x, norm.groups, weight, bias, kEpsilon);
    return silu ? at::silu(y) : y;
  });
}

double relative(const Tensor& got, const Tensor& expected) {
  return distance(got, expected) / std::max(1.0, expected.abs().max().item<double>());
}

}  // namespace

TEST_CASE("group_norm and its gradients are LibTorch's, for any shape, with SiLU and without") {
  for (const auto& [shape, groups] :
       std::vector<std::pair<std::vector<int64_t>, int64_t>>{{{1, 1, 2}, 1},
                                                             {{3, 4, 7, 5}, 2},
                                                             {{2, 6, 1, 9}, 3},
                                                             {{5, 32, 3}, 8},
                                                             {{2, 16, 28, 28}, 16}})
    for (const bool silu : {false, true}) {
      CAPTURE(shape[1]);
      CAPTURE(silu);
      const Norm norm = example(shape, groups);
      const Result expected = libtorch(norm, silu), in_double = ours(norm, silu, at::kDouble),
                   in_float = ours(norm, silu);
      CHECK(relative(in_double.y, expected.y) < 1e-14);
      // float32: sums of up to 1568 terms, an exponential good to 2e-7.
      CHECK(relative(in_float.y, expected.y) < 3e-6);
      for (size_t i = 0; i < 3; ++i) {
        CAPTURE(i);
        CHECK(relative(in_double.gradients[i], expected.gradients[i]) < 1e-14);
        CHECK(relative(in_float.gradients[i], expected.gradients[i]) < 1e-5);
      }
    }
}

TEST_CASE("group_norm takes tensors that are not contiguous, and keeps bf16 as bf16") {
  const Norm norm = example({2, 6, 5, 4}, 3);
  Norm turned = norm;
  turned.x = norm.x.transpose(2, 3).contiguous().transpose(2, 3);
  CHECK_FALSE(turned.x.is_contiguous());
  CHECK(at::equal(ours(turned, true).y, ours(norm, true).y));
  Norm strided = norm;
  strided.x = norm.x.contiguous(at::MemoryFormat::ChannelsLast);
  CHECK(at::equal(ours(strided, true).y, ours(norm, true).y));
  const Tensor y = group_norm(norm.x.to(at::kBFloat16), 3, norm.weight, norm.bias, kEpsilon, true);
  CHECK((y.scalar_type() == at::kBFloat16));
  CHECK(relative(y.to(at::kDouble), libtorch(norm, true).y) < 0.01);  // 8 bits, in and out
}

TEST_CASE("an example's norm does not depend on the rest of the batch") {
  const Norm norm = example({4, 6, 3, 3}, 2);
  Norm alone = norm;
  alone.x = norm.x.narrow(0, 2, 1);
  CHECK(at::equal(ours(norm, true).y[2], ours(alone, true).y[0]));
}
