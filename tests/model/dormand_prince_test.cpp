#include "tweedie/model/dormand_prince.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/model/gaussian.h"
#include "tests/refusal.h"
#include "tweedie/base/error.h"
#include "tweedie/tensor/random.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// y' = rate y cos t, whose solution is y_0 exp(rate sin t); every example has its own rate.
SlopeOf wave(const std::vector<double>& rates) {
  return [rates](at::ArrayRef<double> at, const Tensor& y, at::ArrayRef<int64_t> examples) {
    Tensor out = at::empty_like(y);
    for (size_t a = 0; a < at.size(); ++a) {
      const int64_t row = static_cast<int64_t>(a);
      out[row] = y[row] * (rates[static_cast<size_t>(examples[a])] * std::cos(at[a]));
    }
    return Slope{out, {}};
  };
}

DormandPrinceOptions tolerance(double value) { return {value, value, value, value, 100000}; }

}  // namespace

TEST_CASE("the error of Dormand and Prince's method falls as the tolerance does, with order 5") {
  const std::vector<double> rates{0.7, 1.1, 1.5, 1.9, 2.3, 2.9};
  const Tensor start = at::ones({6, 1}, f64());
  std::vector<double> error, evaluations;
  for (const double tol : {1e-5, 1e-7, 1e-9, 1e-11}) {
    const OdeSolution solution = dormand_prince(wave(rates), start, 0, 0, 2, tolerance(tol));
    const Tensor exact = (at::tensor(rates, f64()) * std::sin(2.0)).exp().unsqueeze(1);
    error.push_back(distance(solution.y / exact, start));
    evaluations.push_back(0);
    for (const int64_t n : solution.evaluations) evaluations.back() += static_cast<double>(n);
    CHECK(error.back() <= 20 * tol);  // local errors of tol add up over some tens of steps
  }
  const double order = std::log(error[1] / error[3]) / std::log(evaluations[3] / evaluations[1]);
  CHECK(is_near(order, 5, 0.5));
}

TEST_CASE("the way back leads to the start, and no way at all is free") {
  const Tensor start = at::full({1, 2}, 1.5, f64());
  const OdeSolution there = dormand_prince(wave({3}), start, 0, 0, 2, tolerance(1e-12));
  const OdeSolution back = dormand_prince(wave({3}), there.y, 0, 2, 0, tolerance(1e-12));
  CHECK(distance(back.y, start) <= 1e-10);
  const OdeSolution none = dormand_prince(wave({3}), start, 0, 1, 1, tolerance(1e-12));
  CHECK(none.evaluations[0] == 0);
  CHECK(distance(none.y, start) == 0);
}

TEST_CASE("an example's steps are its own: the same bits alone and among 256") {
  std::vector<double> rates;
  for (int i = 0; i < 256; ++i) rates.push_back(0.1 * i - 8);
  const Tensor start = keyed_uniform({4, Stream::data}, {0}, 0, {256, 2})[0].to(at::kDouble);
  const OdeSolution all = dormand_prince(wave(rates), start, 0, 0, 4, tolerance(1e-6));
  for (const int64_t i : {0, 17, 80, 255}) {
    const OdeSolution one = dormand_prince(wave({rates[static_cast<size_t>(i)]}),
                                           start.narrow(0, i, 1), 0, 0, 4, tolerance(1e-6));
    CHECK(at::equal(one.y[0], all.y[i]));
    CHECK(one.evaluations[0] == all.evaluations[static_cast<size_t>(i)]);
  }
  CHECK(all.evaluations[255] > 2 * all.evaluations[80]);  // the steps do differ
}

TEST_CASE("examples that are done are not evaluated again") {
  int64_t rows = 0;
  const SlopeOf inner = wave({0.1, 20});
  const SlopeOf counting = [&](at::ArrayRef<double> at, const Tensor& y,
                               at::ArrayRef<int64_t> examples) {
    rows += y.size(0);
    return inner(at, y, examples);
  };
  const OdeSolution solution =
      dormand_prince(counting, at::ones({2, 1}, f64()), 0, 0, 4, tolerance(1e-8));
  CHECK(rows == solution.evaluations[0] + solution.evaluations[1]);
  CHECK(solution.evaluations[1] > solution.evaluations[0]);
}

TEST_CASE("sums have a tolerance of their own, met though y does not move") {
  const SlopeOf still = [](at::ArrayRef<double> at, const Tensor& y, at::ArrayRef<int64_t>) {
    Tensor rates = at::empty({y.size(0), 2}, f64());
    for (int64_t i = 0; i < y.size(0); ++i) {
      rates[i][0] = 1;
      rates[i][1] = std::cos(40 * at[static_cast<size_t>(i)]);
    }
    return Slope{at::zeros_like(y), rates};
  };
  DormandPrinceOptions options = tolerance(1e-9);
  options.rtol = options.atol = 1e-1;
  const OdeSolution solution = dormand_prince(still, at::ones({3, 50}, f64()), 2, 0, 3, options);
  for (int64_t i = 0; i < 3; ++i) {
    CHECK(is_near(solution.sums[i][0].item<double>(), 3, 1e-12));
    CHECK(is_near(solution.sums[i][1].item<double>(), std::sin(120.0) / 40, 1e-7));
  }
}

TEST_CASE("an example that uses up its evaluations says how far it got, the others finish") {
  DormandPrinceOptions options = tolerance(1e-8);
  options.max_evaluations = 150;
  const OdeSolution solution =
      dormand_prince(wave({0.1, 60}), at::ones({2, 1}, f64()), 0, 0, 4, options);
  REQUIRE(solution.unfinished.size() == 1);
  CHECK(solution.unfinished[0] == 1);
  CHECK(solution.reached[0] == 4);
  CHECK(solution.reached[1] > 0);
  CHECK(solution.reached[1] < 4);
  CHECK(solution.evaluations[1] <= 150);
  CHECK(is_near(solution.y[1][0].item<double>(), std::exp(60 * std::sin(solution.reached[1])),
                1e-4 * std::exp(60 * std::sin(solution.reached[1]))));
}

TEST_CASE("a slope that is not finite is an error that names the example and the place") {
  const SlopeOf bad = [](at::ArrayRef<double> at, const Tensor& y, at::ArrayRef<int64_t> examples) {
    Tensor out = at::ones_like(y);
    for (size_t a = 0; a < at.size(); ++a)
      if (examples[a] == 1 && at[a] > 0.5) out[static_cast<int64_t>(a)].fill_(NAN);
    return Slope{out, {}};
  };
  CHECK(says(refusal([&] {
               dormand_prince(bad, at::ones({2, 1}, f64()), 0, 0, 1, tolerance(1e-6));
             }),
             "example 1 is not finite at"));
}

TEST_CASE("tolerances and budgets that make no sense are refused") {
  const Tensor y = at::ones({1, 1}, f64());
  CHECK_THROWS_AS(dormand_prince(wave({1}), y, 0, 0, 1, tolerance(0)), Error);
  CHECK_THROWS_AS(dormand_prince(wave({1}), y, 0, 0, 1, tolerance(1e-15)), Error);
  CHECK_THROWS_AS(dormand_prince(wave({1}), y, 0, 0, 1, {1e-3, 1e-3, 1e-3, 1e-3, 0}), Error);
  CHECK_THROWS_AS(dormand_prince(wave({1}), y, 2, 0, 1, tolerance(1e-3)), Error);
}
