// Inpainting of two numbers of which the first is known.
#include "tweedie/samplers/repaint.h"

#include <doctest/doctest.h>

#include "tests/samplers/drawn.h"
#include "tweedie/samplers/ddim.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

constexpr double kKnown = 1;

std::vector<int64_t> first_samples(int64_t count) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(i);
  return out;
}

/// The first of two numbers is kKnown.
RepaintOptions first_known() {
  return {.known = at::full({1, 2}, kKnown, f64()),
          .mask = at::tensor({1.0, 0.0}, f64()),
          .clip = false};
}

/// Of two normal numbers of unit variance whose covariance is kShared.
constexpr double kShared = 0.9;
Prediction correlated_denoiser(const Tensor& x, Levels levels, const Condition&) {
  const double alpha = levels.front().alpha, sigma = levels.front().sigma;
  // Their sum and difference are independent.
  const auto shrunk = [&](double variance) {
    return alpha * variance / (alpha * alpha * variance + sigma * sigma);
  };
  const Tensor mean = x.mean(1, true);
  return {shrunk(1 + kShared) * mean + shrunk(1 - kShared) * (x - mean), {}};
}

std::vector<int64_t> indices_of(const Path& walk, const Path& path) {
  std::vector<int64_t> out;
  for (const Level& level : walk)
    for (size_t i = 0; i < path.size(); ++i)
      if (path[i].sigma == level.sigma) out.push_back(static_cast<int64_t>(i));
  return out;
}

}  // namespace

TEST_CASE("a resampled path goes back up where so many steps are left") {
  const Path path = named_path("log-snr", vp_linear(0.1, 20, 1e-3), 7);
  CHECK(indices_of(resampled_path(path, 3, 2), path) ==
        std::vector<int64_t>{0, 1, 2, 3, 4, 3, 2, 1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 5, 6, 7});
  CHECK(indices_of(resampled_path(path, 1, 1), path) ==
        std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(indices_of(resampled_path(path, 7, 9), path).size() == 8);  // nowhere to jump from
}

TEST_CASE("repaint keeps what is known, and without a mask is ddim") {
  const Path path = named_path("log-snr", vp_linear(0.1, 20, 1e-3), 12);
  RepaintOptions options = first_known();
  options.jump = 3;
  options.samples = 2;
  const Tensor out = drawn(repaint(options), path, {0, 1, 2});
  CHECK((out.select(1, 0) == kKnown).all().item<bool>());
  options.eta = 0;
  options.samples = 1;
  options.mask = at::zeros({1}, f64());
  CHECK(at::allclose(drawn(repaint(options), path, {0, 1, 2}),
                     drawn(ddim({.clip = false}), path, {0, 1, 2}), 1e-12, 1e-12));
}

TEST_CASE("jumps bring repaint's draws nearer to the conditional distribution") {
  const Path path = named_path("log-snr", vp_linear(0.1, 20, 1e-3), 40);
  const std::vector<int64_t> samples = first_samples(2000);
  const auto off = [&](int64_t times) {
    RepaintOptions options = first_known();
    options.jump = 5;
    options.samples = times;
    const Tensor start = keyed_prior(5, samples, {2}).to(at::kDouble);
    const Tensor out =
        repaint(options)(correlated_denoiser, start, path, {}, noise_of(samples), {});
    return std::abs(out.select(1, 1).mean().item<double>() - kShared * kKnown);
  };
  const double without = off(1), with_jumps = off(12);
  CAPTURE(without);
  CAPTURE(with_jumps);
  CHECK(with_jumps < 0.3 * without);
}

TEST_CASE("known data of another type takes the samples' type") {
  const Denoiser in_floats = [](const Tensor& x, Levels levels, const Condition& condition) {
    REQUIRE((x.scalar_type() == at::kFloat));
    return Prediction{mixture_denoiser(x.to(at::kDouble), levels, condition).x0.to(at::kFloat), {}};
  };
  const Tensor out = repaint(first_known())(in_floats, keyed_prior(5, {0, 1}, {2}),
                                            named_path("log-snr", vp_linear(0.1, 20, 1e-3), 4), {},
                                            noise_of({0, 1}), {});
  CHECK((out.scalar_type() == at::kFloat));
}

TEST_CASE("repaint says what it lacks") {
  CHECK_THROWS_WITH_AS(repaint({}), doctest::Contains("mask of what is known"), Error);
  RepaintOptions options = first_known();
  options.jump = 0;
  CHECK_THROWS_WITH_AS(repaint(options), doctest::Contains("got 0 and 10"), Error);
  options.jump = 2;
  options.mask = at::ones({3}, f64());
  CHECK_THROWS_WITH_AS(
      drawn(repaint(options), named_path("log-snr", vp_linear(0.1, 20, 1e-3), 3), {0}),
      doctest::Contains("a mask of shape [3] for samples of shape [1, 2]"), Error);
}
