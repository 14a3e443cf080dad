#include "tweedie/process/loss_aware_steps.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "tweedie/base/error.h"

using namespace tweedie;

namespace {

/// Steps whose losses are `scale` times 1, 2, .., T with a full history.
LossAwareSteps filled(int64_t steps, double scale = 1) {
  LossAwareSteps sampler(steps, {.history = 3});
  for (int k = 0; k < 3; ++k)
    for (int64_t i = 1; i <= steps; ++i) sampler.record(i, scale * static_cast<double>(i));
  return sampler;
}

}  // namespace

TEST_CASE("steps are drawn uniformly until every step has a full history") {
  LossAwareSteps sampler(4, {.history = 2});
  for (int64_t i = 1; i <= 4; ++i) sampler.record(i, 100.0 * static_cast<double>(i));
  for (int64_t i = 1; i <= 3; ++i) sampler.record(i, 1);
  CHECK(sampler.probabilities() == std::vector<double>(4, 0.25));
  sampler.record(4, 1);
  CHECK(sampler.probabilities()[3] > 0.3);
}

TEST_CASE("steps are drawn in proportion to the root mean square of their losses") {
  LossAwareSteps sampler(2, {.history = 2, .uniform_share = 0.1});
  for (const double loss : {1.0, 7.0}) sampler.record(1, loss);  // root mean square 5
  for (const double loss : {15.0, 15.0}) sampler.record(2, loss);
  CHECK(sampler.probabilities()[0] == doctest::Approx(0.1 / 2 + 0.9 * 0.25).epsilon(1e-14));
  CHECK(sampler.probabilities()[1] == doctest::Approx(0.1 / 2 + 0.9 * 0.75).epsilon(1e-14));
}

TEST_CASE("the weighted estimate's mean is the full mean over the steps") {
  const LossAwareSteps sampler = filled(20);
  const std::vector<double> p = sampler.probabilities();
  const auto loss = [](int64_t step) { return std::cos(static_cast<double>(step)); };
  double weighted = 0, full = 0, below = 0;
  for (int64_t i = 1; i <= 20; ++i) {  // one u in the middle of each step's part of [0, 1)
    const double share = p[static_cast<size_t>(i - 1)];
    const LossAwareSteps::Draw draw = sampler.draw({below + share / 2})[0];
    CHECK(draw.step == i);
    weighted += share * draw.weight * loss(draw.step);
    full += loss(i) / 20;
    below += share;
  }
  CHECK(weighted == doctest::Approx(full).epsilon(1e-13));
}

TEST_CASE("drawing by the root mean square loss gives the estimate its least variance") {
  // With a known loss L_t, E[(L_t / p_t)^2] over t is least at p_t in proportion to |L_t|: then 0.
  LossAwareSteps sampler(5, {.history = 1, .uniform_share = 1e-9});
  for (int64_t i = 1; i <= 5; ++i) sampler.record(i, static_cast<double>(i));
  for (const double u : {0.05, 0.2, 0.5, 0.95}) {
    const LossAwareSteps::Draw draw = sampler.draw({u})[0];
    CHECK(draw.weight * static_cast<double>(draw.step) == doctest::Approx(3).epsilon(1e-7));
  }
}

TEST_CASE("a draw's place inside its step makes u a function of both") {
  const LossAwareSteps sampler = filled(20);
  const std::vector<double> p = sampler.probabilities();
  for (double u = 0.001; u < 1; u += 0.037) {
    const LossAwareSteps::Draw draw = sampler.draw({u})[0];
    double below = 0;
    for (int64_t i = 1; i < draw.step; ++i) below += p[static_cast<size_t>(i - 1)];
    CHECK(below + draw.within * p[static_cast<size_t>(draw.step - 1)] ==
          doctest::Approx(u).epsilon(1e-12));
  }
}

TEST_CASE("draws cover the ends of [0, 1)") {
  const LossAwareSteps sampler = filled(7);
  CHECK(sampler.draw({0})[0].step == 1);
  CHECK(sampler.draw({std::nextafter(1.0, 0.0)})[0].step == 7);
}

TEST_CASE("only the latest losses count") {
  LossAwareSteps sampler = filled(3, 1000);
  for (int k = 0; k < 3; ++k)
    for (int64_t i = 1; i <= 3; ++i) sampler.record(i, static_cast<double>(i));
  CHECK(sampler.probabilities() == filled(3).probabilities());
}

TEST_CASE("losses that are all zero leave the draw uniform") {
  CHECK(filled(4, 0).probabilities() == std::vector<double>(4, 0.25));
}

TEST_CASE("the state read back from its text draws the same, bit for bit") {
  LossAwareSteps before = filled(6, 1.0 / 3);
  before.record(2, 0.1);
  LossAwareSteps after(6, {.history = 3});
  after.restore(Json::parse(before.state().dump()));
  CHECK(after.probabilities() == before.probabilities());
  before.record(1, 5);  // the order of the history is part of the state
  after.record(1, 5);
  CHECK(after.state() == before.state());
}

TEST_CASE("a state of another chain or another shape is refused and changes nothing") {
  LossAwareSteps sampler = filled(3);
  const std::vector<double> before = sampler.probabilities();
  Json long_history = sampler.state();
  long_history["losses"][1] = {1, 2, 3, 4};
  for (const Json& bad : {filled(4).state(), Json(7), Json{{"losses", {}}}, long_history,
                          Json{{"history", 3}, {"losses", {{1}, {2}, {"x"}}}}})
    CHECK_THROWS_AS(sampler.restore(bad), Error);
  CHECK(sampler.probabilities() == before);
}

TEST_CASE("impossible loss-aware steps are refused") {
  CHECK_THROWS_AS(LossAwareSteps(0), Error);
  CHECK_THROWS_AS(LossAwareSteps(5, {.history = 0}), Error);
  CHECK_THROWS_AS(LossAwareSteps(5, {.uniform_share = 0}), Error);
  LossAwareSteps sampler(5);
  CHECK_THROWS_WITH_AS(sampler.record(6, 1), doctest::Contains("not in 1..5"), Error);
  CHECK_THROWS_WITH_AS(sampler.record(2, NAN), doctest::Contains("step 2"), Error);
}
