#include "tweedie/jobs/level_draws.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tweedie/process/weighting.h"

using namespace tweedie;

namespace {

constexpr int64_t kBatch = 16, kTrials = 2000;

/// The bound's weighted least error for data N(0, 1/4), as a function of u: what training averages.
double loss_at(double u) {
  static const Objective objective = vlb_objective(vp_linear());
  const Level l = objective.draw(u);
  const double signal = 0.25 * l.alpha * l.alpha;
  return objective.weight(l) * signal / (signal + l.sigma * l.sigma);
}

struct Spread {
  double mean, variance;  // of the loss of a batch
};

template <class Draw>
Spread spread_of(const Draw& draw) {
  double sum = 0, squares = 0;
  for (int64_t step = 1; step <= kTrials; ++step) {
    const LevelDraws draws = draw(step);
    double loss = 0;
    for (size_t i = 0; i < draws.u.size(); ++i)
      loss += loss_at(draws.u[i]) * (draws.weights.empty() ? 1 : draws.weights[i]) / kBatch;
    sum += loss, squares += loss * loss;
  }
  const double n = static_cast<double>(kTrials), mean = sum / n;
  return {mean, squares / n - mean * mean};
}

/// Half log((1 + SNR_1 / 4) / (1 + SNR_0 / 4)): the integral of loss_at.
double exact_mean() {
  const Schedule vp = vp_linear();
  const auto part = [&](double t) { return std::log1p(0.25 * std::exp(log_snr(vp.at(t)))); };
  return 0.5 * (part(vp.t_min) - part(vp.t_max));
}

constexpr RandomKey kLevelKey{7, Stream::levels};

Spread drawn(const char* how) {
  return spread_of([&](int64_t step) { return draw_levels(how, kBatch, kLevelKey, step); });
}

LossAwareSteps taught_sampler() {
  LossAwareSteps sampler(32, {.history = 1, .uniform_share = 0.1});
  for (int64_t i = 1; i <= 32; ++i) sampler.record(i, loss_at((static_cast<double>(i) - 0.5) / 32));
  return sampler;
}

}  // namespace

TEST_CASE("every way to draw levels has the mean over all levels, within 3 standard errors") {
  const LossAwareSteps sampler = taught_sampler();
  const auto is_right = [&](const Spread& spread) {
    const double error = std::sqrt(spread.variance / static_cast<double>(kTrials));
    return std::abs(spread.mean - exact_mean()) <= 3 * error;
  };
  for (const char* how : {"uniform", "antithetic", "stratified"}) {
    CAPTURE(how);
    CHECK(is_right(drawn(how)));
  }
  CHECK(is_right(
      spread_of([&](int64_t step) { return draw_levels(sampler, kBatch, kLevelKey, step); })));
}

TEST_CASE("antithetic, stratified and loss-aware draws have less variance than uniform ones") {
  const double uniform = drawn("uniform").variance;
  for (const char* how : {"antithetic", "stratified"}) {
    CAPTURE(how);
    CHECK(drawn(how).variance < 0.5 * uniform);
  }
  const LossAwareSteps sampler = taught_sampler();
  CHECK(spread_of([&](int64_t step) {
          return draw_levels(sampler, kBatch, kLevelKey, step);
        }).variance < 0.5 * uniform);
}

TEST_CASE("a loss-aware u lies in the part of the step that its loss is recorded for") {
  const LossAwareSteps sampler = taught_sampler();
  for (int64_t step = 1; step <= 50; ++step) {
    const LevelDraws draws = draw_levels(sampler, kBatch, kLevelKey, step);
    for (size_t i = 0; i < draws.u.size(); ++i)
      CHECK(static_cast<int64_t>(std::floor(draws.u[i] * 32)) + 1 == draws.steps[i]);
  }
}

TEST_CASE("an unknown way to draw levels is refused") {
  CHECK_THROWS_WITH(draw_levels("sobol", 4, kLevelKey, 1), doctest::Contains("'sobol'"));
}
