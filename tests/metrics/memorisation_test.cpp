#include "tweedie/metrics/memorisation.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/metrics/points.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

TEST_CASE("copies of training examples are found, with the example that each copies") {
  const Tensor train = normal_points(600, 4, 1);
  const Tensor order = random_order(3, 0, 600).narrow(0, 0, 100);
  const Memorisation found =
      memorisation(train.index_select(0, order), train, normal_points(300, 4, 2));
  CHECK(found.copied == 1);
  CHECK(at::equal(found.nearest, order));
  CHECK(found.of_samples.max().item<double>() == 0);
}

TEST_CASE("new examples are as near to the training data as held-out ones") {
  const Tensor train = normal_points(500, 3, 1), held_out = normal_points(4000, 3, 2);
  const Memorisation found =
      memorisation(normal_points(4000, 3, 3), train, held_out, {.share = 0.05});
  CHECK(std::abs(found.copied - 0.05) <= 3 * found.copied_error);
  const double of_held_out =
      (found.of_held_out < found.threshold).to(at::kDouble).mean().item<double>();
  CHECK(of_held_out == doctest::Approx(0.05).epsilon(0.01));
}

TEST_CASE(
    "the error of the share of copies is how much it scatters, and none of 0 without copies") {
  constexpr int kTrials = 200;
  double squares = 0, predicted = 0;
  const Tensor train = normal_points(200, 2, 0);
  for (int i = 1; i <= kTrials; ++i) {
    const Memorisation found = memorisation(normal_points(300, 2, 2 * i), train,
                                            normal_points(100, 2, 2 * i + 1), {.share = 0.1});
    squares += std::pow(found.copied - 0.1, 2) / kTrials;
    predicted += std::pow(found.copied_error, 2) / kTrials;
  }
  // A variance of 200 trials is known to a tenth; most of it comes from the 100 held-out examples.
  CHECK(std::abs(predicted / squares - 1) < 0.35);
  const Tensor held_out = normal_points(100, 2, 1);
  for (const double far : {0.0, 1.0}) {
    const Tensor samples = far == 0 ? train : 100 + train;
    const Memorisation found = memorisation(samples, train, held_out);
    CHECK(found.copied == 1 - far);
    CHECK(found.copied_error >= 0.5 / 201);
  }
}

TEST_CASE("a mixture of copies and new examples is told by its share of copies") {
  const Tensor train = normal_points(500, 3, 1);
  const Tensor samples = at::cat({train.narrow(0, 0, 200), normal_points(800, 3, 2)});
  const Memorisation found = memorisation(samples, train, normal_points(2000, 3, 3));
  CHECK(found.copied == doctest::Approx(0.2 + 0.8 * 0.01).epsilon(0.05));
}

TEST_CASE("memorisation refuses sets that cannot be compared") {
  const Tensor a = normal_points(20, 2, 1), wide = normal_points(20, 3, 2);
  CHECK_THROWS_WITH_AS(memorisation(a, wide, wide), doctest::Contains("2 and 3 values"), Error);
  CHECK_THROWS_WITH_AS(memorisation(a, a, wide), doctest::Contains("held out"), Error);
  CHECK_THROWS_WITH_AS(memorisation(a, a, a, {.share = 0}), doctest::Contains("(0, 1)"), Error);
}
