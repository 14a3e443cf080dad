#include "tweedie/metrics/frechet.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/metrics/points.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

Tensor rotation(double angle) {
  return at::tensor({std::cos(angle), -std::sin(angle), std::sin(angle), std::cos(angle)},
                    at::kDouble)
      .view({2, 2});
}

Tensor zero_mean(int64_t dims) { return at::zeros({dims}, at::kDouble); }

}  // namespace

TEST_CASE("the Frechet distance of Gaussians with commuting covariances is a sum over their axes") {
  const Tensor turn = std::get<0>(at::linalg_qr(normal_points(6, 6, 1)));
  const Tensor a = at::tensor({4.0, 1.0, 0.25, 9.0, 1e-6, 0.0}, at::kDouble),
               b = at::tensor({1.0, 1.0, 4.0, 16.0, 0.0, 0.0}, at::kDouble);
  const auto turned = [&](const Tensor& axes) { return at::matmul(turn * axes, turn.t()); };
  const Tensor mean_a = normal_points(1, 6, 2)[0], mean_b = normal_points(1, 6, 3)[0];
  const double expected =
      ((mean_a - mean_b).square().sum() + (a.sqrt() - b.sqrt()).square().sum()).item<double>();
  CHECK(std::abs(frechet_distance(mean_a, turned(a), mean_b, turned(b)) - expected) <= 1e-8);
}

TEST_CASE("the Frechet distance of plane Gaussians that do not commute has a closed form") {
  // tr (A^(1/2) B A^(1/2))^(1/2) = sqrt(tr AB + 2 sqrt(det AB)) in two dimensions.
  const Tensor a = at::tensor({5.0, 1.5, 1.5, 2.0}, at::kDouble).view({2, 2});
  for (const double angle : {0.3, 1.0, 2.5}) {
    const Tensor axes = at::tensor({7.0, 0.2}, at::kDouble), turn = rotation(angle);
    const Tensor b = at::matmul(turn * axes, turn.t()), product = at::matmul(a, b);
    CHECK((product - product.t()).abs().max().item<double>() > 0.1);
    const double overlap = std::sqrt(product.trace().item<double>() +
                                     2 * std::sqrt(at::linalg_det(product).item<double>()));
    const double expected = (a.trace() + b.trace()).item<double>() - 2 * overlap;
    CHECK(std::abs(frechet_distance(zero_mean(2), a, zero_mean(2), b) - expected) <= 1e-8);
  }
}

TEST_CASE("a set and its shifted copy are as far apart as the shift, squared") {
  const Tensor a = normal_points(3000, 4, 1);
  const Tensor shift = at::tensor({1.0, -2.0, 0.0, 0.5}, at::kDouble);
  const Frechet found = frechet(a, a + shift);
  CHECK(std::abs(found.squared_distance - 5.25) <= 1e-8);
  CHECK(found.examples_a == 3000);
  CHECK(found.dims == 4);
}

TEST_CASE("sets too small for a Frechet distance are refused unless any size will do") {
  CHECK_THROWS_WITH_AS(frechet(normal_points(2047, 2, 1), normal_points(4000, 2, 2)),
                       doctest::Contains("2047 examples"), Error);
  CHECK_THROWS_WITH_AS(frechet(normal_points(2999, 300, 1), normal_points(4000, 300, 2)),
                       doctest::Contains("give 3000"), Error);
  CHECK(frechet(normal_points(50, 2, 1), normal_points(40, 2, 2), {.any_size = true}).examples_b ==
        40);
}

TEST_CASE("what is no mean and covariance is refused") {
  const Tensor one = at::eye(2, at::kDouble);
  CHECK_THROWS_WITH_AS(frechet_distance(zero_mean(2), one, zero_mean(3), one),
                       doctest::Contains("means [D]"), Error);
  CHECK_THROWS_WITH_AS(frechet_distance(zero_mean(2), -one, zero_mean(2), one),
                       doctest::Contains("eigenvalue"), Error);
  const Tensor skew = at::tensor({1.0, 0.5, 0.0, 1.0}, at::kDouble).view({2, 2});
  CHECK_THROWS_WITH_AS(frechet_distance(zero_mean(2), skew, zero_mean(2), one),
                       doctest::Contains("not symmetric"), Error);
}
