// Metrics that ask whether two sets have one distribution.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/metrics/points.h"
#include "tweedie/base/error.h"
#include "tweedie/metrics/classifier_test.h"
#include "tweedie/metrics/mmd.h"
#include "tweedie/metrics/sliced_wasserstein.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// The largest distance of the values' distribution function from that of uniform numbers.
double distance_from_uniform(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const double n = static_cast<double>(values.size());
  double most = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double below = static_cast<double>(i) / n;
    most = std::max({most, values[i] - below, below + 1 / n - values[i]});
  }
  return most;
}

}  // namespace

TEST_CASE("shifted copies are |shift| / sqrt(D) apart in sliced Wasserstein distance") {
  for (const int64_t dims : {1, 2, 5, 20}) {
    const Tensor a = normal_points(200, dims, 1), shift = normal_points(1, dims, 2);
    const SlicedWasserstein found = sliced_wasserstein(a, a + shift, {.projections = 4000});
    const double expected = shift.norm().item<double>() / std::sqrt(static_cast<double>(dims));
    CAPTURE(dims);
    CHECK(std::abs(found.distance - expected) <=
          3 * found.standard_error_over_projections + 1e-12 * expected);
    CHECK(found.standard_error_over_projections < 0.03 * expected);
  }
}

TEST_CASE("sliced Wasserstein distance ignores order and repetition") {
  const Tensor a = normal_points(60, 3, 1), b = normal_points(45, 3, 2);
  CHECK(sliced_wasserstein(a, at::cat({a, a}).flip(0)).distance <= 1e-12);
  CHECK(sliced_wasserstein(a, b).distance ==
        doctest::Approx(sliced_wasserstein(b.flip(0), at::cat({a, a, a})).distance).epsilon(1e-10));
}

TEST_CASE("on a line the sliced distance is that of the quantiles, for sets of any sizes") {
  // {0, 1} and {0, 0.5, 1}: a third of the mass stays at each end, 1/6 comes from either to 0.5.
  const Tensor two = at::tensor({0.0, 1.0}, at::kDouble).view({2, 1}),
               three = at::tensor({0.5, 0.0, 1.0}, at::kDouble).view({3, 1});
  CHECK(sliced_wasserstein(two, three).distance ==
        doctest::Approx(std::sqrt(0.25 / 3)).epsilon(1e-12));
}

TEST_CASE("MMD of equal distributions has mean 0 and uniform p-values") {
  constexpr int kTrials = 200;
  std::vector<double> p_values;
  double sum = 0, squares = 0;
  for (int i = 0; i < kTrials; ++i) {
    const Mmd found = mmd(normal_points(30, 2, 2 * i), normal_points(40, 2, 2 * i + 1),
                          {.permutations = 199, .seed = static_cast<uint64_t>(i)});
    p_values.push_back(found.p_value);
    sum += found.squared, squares += found.squared * found.squared;
  }
  const double mean = sum / kTrials, error = std::sqrt(squares / kTrials - mean * mean) /
                                             std::sqrt(static_cast<double>(kTrials));
  CHECK(std::abs(mean) <= 3 * error);
  // Kolmogorov and Smirnov's 1% level, and the 1/200 between possible p-values.
  CHECK(distance_from_uniform(p_values) <= 1.63 / std::sqrt(double{kTrials}) + 0.005);
}

TEST_CASE("MMD of different distributions has the least p-value that its permutations allow") {
  const Tensor a = normal_points(100, 2, 1), b = 1 + normal_points(100, 2, 2);
  const Mmd found = mmd(a, b, {.permutations = 99});
  CHECK(found.p_value == doctest::Approx(0.01));
  CHECK(found.squared > 0.1);
}

TEST_CASE("MMD is the sum over pairs of points that defines it") {
  const Tensor a = at::tensor({0.0, 1.0}, at::kDouble).view({2, 1}),
               b = at::tensor({0.5, 2.0, 3.0}, at::kDouble).view({3, 1});
  const auto k = [](double x, double y) { return std::exp(-(x - y) * (x - y) / (2 * 0.49)); };
  const double expected = k(0, 1) + (k(0.5, 2) + k(0.5, 3) + k(2, 3)) / 3 -
                          (k(0, 0.5) + k(0, 2) + k(0, 3) + k(1, 0.5) + k(1, 2) + k(1, 3)) / 3;
  CHECK(mmd(a, b, {.bandwidth = 0.7}).squared == doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("a classifier tells equal distributions apart no better than chance") {
  constexpr int kTrials = 60;
  double right = 0, tested = 0;
  int rejected = 0;
  for (int i = 0; i < kTrials; ++i) {
    const ClassifierTest found =
        classifier_test(normal_points(200, 3, 2 * i), normal_points(260, 3, 2 * i + 1),
                        {.seed = static_cast<uint64_t>(i)});
    const double count = static_cast<double>(found.tested);
    right += found.accuracy * count, tested += count;
    rejected += found.p_value < 0.05;
  }
  CHECK(std::abs(right / tested - 0.5) <= 3 * 0.5 / std::sqrt(tested));
  CHECK(rejected <= 8);  // 3 expected; more in 1% of the cases
}

TEST_CASE("a classifier tells different distributions apart") {
  const Tensor a = normal_points(200, 3, 1), b = 8 + normal_points(200, 3, 2);
  CHECK(classifier_test(a, b).accuracy == 1);
  // Half a deviation in each of 3 dimensions: the best classifier is right in Phi(sqrt(3) / 4) =
  // 0.667.
  const ClassifierTest near =
      classifier_test(normal_points(4000, 3, 1), 0.5 + normal_points(4000, 3, 2));
  CHECK(near.accuracy == doctest::Approx(0.667).epsilon(0.04));
  CHECK(near.p_value < 1e-6);
}

TEST_CASE("sets that cannot be compared are refused, with what was given") {
  const Tensor a = normal_points(20, 2, 1), wide = normal_points(20, 3, 2);
  CHECK_THROWS_WITH_AS(sliced_wasserstein(a, wide), doctest::Contains("2 and 3 values"), Error);
  CHECK_THROWS_WITH_AS(mmd(a, wide), doctest::Contains("2 and 3 values"), Error);
  CHECK_THROWS_WITH_AS(classifier_test(a, wide), doctest::Contains("2 and 3 values"), Error);
  CHECK_THROWS_WITH_AS(sliced_wasserstein(a, a.slice(0, 0, 1)), doctest::Contains("1 examples"),
                       Error);
  CHECK_THROWS_WITH_AS(sliced_wasserstein(a, a[0]), doctest::Contains("[N, ...]"), Error);
  CHECK_THROWS_WITH_AS(mmd(a, a * NAN), doctest::Contains("not finite"), Error);
  CHECK_THROWS_WITH_AS(mmd(at::ones({9, 1}), at::ones({9, 1})), doctest::Contains("bandwidth"),
                       Error);
  CHECK_THROWS_WITH_AS(mmd(a, a, {.permutations = -1}), doctest::Contains("got -1"), Error);
  CHECK_THROWS_WITH_AS(mmd(at::zeros({20000, 1}), at::ones({9, 1})), doctest::Contains("20009"),
                       Error);
  CHECK_THROWS_WITH_AS(classifier_test(a.slice(0, 0, 9), a), doctest::Contains("has 9"), Error);
  CHECK_THROWS_WITH_AS(classifier_test(a, a, {.neighbours = 4}), doctest::Contains("odd number"),
                       Error);
  CHECK_THROWS_AS(sliced_wasserstein(a, a, {.projections = 0}), Error);
}
