#include "tweedie/model/divergence.h"

#include <doctest/doctest.h>

#include <numeric>

#include "tests/model/gaussian.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

std::vector<int64_t> first_samples(int64_t count) {
  std::vector<int64_t> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

Tensor some_matrix(int64_t dims) {
  return keyed_normal({7, Stream::weights}, first_samples(dims), 0, {dims}).to(at::kDouble);
}

/// v^T A v of `count` probes for each of `examples` copies of the linear map A.
Tensor quadratic_forms(const Tensor& a, Divergence kind, int64_t examples, int64_t count) {
  const Tensor x = at::zeros({examples, a.size(0)}, f64()).requires_grad_(true);
  return probe_jacobian(x.matmul(a.t()), x,
                        keyed_probes(kind, count, 5, first_samples(examples), x.sizes().slice(1)));
}

}  // namespace

TEST_CASE("probes estimate the trace without bias, with the variance of their kind") {
  for (const int64_t dims : {2, 8}) {
    const Tensor a = some_matrix(dims), s = 0.5 * (a + a.t());
    const double off = s.square().sum().item<double>(),
                 diagonal = s.diagonal().square().sum().item<double>();
    const double trace = a.trace().item<double>();
    for (const auto& [kind, variance] : {std::pair{Divergence::rademacher, 2 * (off - diagonal)},
                                         {Divergence::gaussian, 2 * off}}) {
      const Tensor forms = quadratic_forms(a, kind, 4000, 100).flatten();  // 4e5 probes
      CHECK(is_near(forms.var().item<double>() / variance, 1, 0.02));
      CHECK(is_near(forms.mean().item<double>(), trace, 4 * std::sqrt(variance / 4e5)));
    }
  }
}

TEST_CASE("the exact trace is the trace, and Rademacher probes of a diagonal map find it") {
  const Tensor a = some_matrix(5), diagonal = at::diag(a.diagonal());
  const Tensor x = at::zeros({3, 5}, f64()).requires_grad_(true);
  const Tensor trace = jacobian_trace(x.matmul(a.t()), x);
  CHECK(trace.sizes() == at::IntArrayRef({3, 1}));
  CHECK(distance(trace, a.trace().expand({3, 1})) <= 1e-14);
  CHECK(distance(quadratic_forms(diagonal, Divergence::rademacher, 10, 3),
                 a.trace().expand({10, 3})) <= 1e-14);
}

TEST_CASE("the exact trace does not depend on how the output lies in memory") {
  const Tensor weights = some_matrix(6);
  const Tensor x = at::zeros({2, 2, 3}, f64()).requires_grad_(true);
  const Tensor output = x.flatten(1).matmul(weights.t()).view({2, 2, 3});
  const Tensor permuted = output.transpose(1, 2).contiguous().transpose(1, 2);
  REQUIRE(!permuted.is_contiguous());
  CHECK(distance(jacobian_trace(permuted, x), weights.trace().expand({2, 1})) <= 1e-14);
}

TEST_CASE("what does not depend on its input has no trace") {
  const Tensor x = at::zeros({3, 2}, f64()).requires_grad_(true);
  CHECK(distance(jacobian_trace(at::ones({3, 2}, f64()), x), at::zeros({3, 1}, f64())) == 0);
  CHECK(distance(probe_jacobian(at::ones({3, 2}, f64()), x, {at::ones({3, 2}, f64())}),
                 at::zeros({3, 1}, f64())) == 0);
}

TEST_CASE("an example's probes are its own, and more of them leave the first ones alone") {
  for (const Divergence kind : {Divergence::rademacher, Divergence::gaussian}) {
    const auto all = keyed_probes(kind, 3, 1, {4, 9, 2}, {7}),
               one = keyed_probes(kind, 1, 1, {9}, {7}), other = keyed_probes(kind, 1, 2, {9}, {7});
    CHECK(at::equal(all[0][1], one[0][0]));
    CHECK_FALSE(at::equal(all[1][1], one[0][0]));
    CHECK_FALSE(at::equal(other[0], one[0]));
  }
  CHECK(at::equal(keyed_probes(Divergence::rademacher, 1, 1, {4, 9}, {64})[0].abs(),
                  at::ones({2, 64})));
  CHECK_THROWS_AS(keyed_probes(Divergence::exact, 1, 1, {4}, {2}), Error);
  CHECK_THROWS_AS(divergence_named("sphere"), Error);
}

TEST_CASE("the 95% interval of the probes' mean covers the trace in 93 to 97% of 1000 tries") {
  const Tensor a = some_matrix(8);
  for (const Divergence kind : {Divergence::rademacher, Divergence::gaussian}) {
    const Tensor forms = quadratic_forms(a, kind, 1000, 60);  // [1000, 60]
    const Tensor error = forms.std(1) / std::sqrt(60.0), off = (forms.mean(1) - a.trace()).abs();
    const double covered = (off <= 1.96 * error).to(at::kDouble).mean().item<double>();
    CHECK(covered >= 0.93);
    CHECK(covered <= 0.97);
  }
}
