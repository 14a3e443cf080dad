#include "tweedie/process/custom.h"

#include <doctest/doctest.h>

#include "tests/process/support.h"
#include "tweedie/base/error.h"
#include "tweedie/process/sde.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// The largest relative error of any member of a level, over the whole range.
double largest_difference(const Schedule& got, const Schedule& expected) {
  double most = 0;
  for (int i = 0; i <= 400; ++i) {
    const double part = i / 400.0;
    const double t = expected.t_min + part * part * (expected.t_max - expected.t_min);
    const Level a = got.at(t), b = expected.at(t);
    for (const auto member : {&Level::alpha, &Level::sigma, &Level::d_alpha, &Level::d_sigma})
      most = std::max(most, relative_error(a.*member, b.*member));
  }
  return most;
}

double beta_of_vp(double t) { return 0.1 + t * (20 - 0.1); }
double half_drift(double t) { return -0.5 * beta_of_vp(t); }

LinearSde flat() {
  return {.drift = [](double) { return -1.0; }, .diffusion = [](double) { return 1.0; }};
}

/// Simpson's rule.
template <class Function>
double simpson(const Function& f, double from, double to, int pairs = 4000) {
  const double h = (to - from) / (2 * pairs);
  double sum = f(from) + f(to);
  for (int i = 1; i < 2 * pairs; ++i) sum += (i % 2 == 1 ? 4 : 2) * f(from + i * h);
  return sum * h / 3;
}

}  // namespace

TEST_CASE("an SDE's own functions give back the schedules that are known in closed form") {
  const auto zero = [](double) { return 0.0; };
  const Schedule vp =
      custom_schedule("mine", {half_drift, [](double t) { return std::sqrt(beta_of_vp(t)); }});
  CHECK(largest_difference(vp, vp_linear()) < 1e-10);
  const Schedule sub =
      custom_schedule("mine", {half_drift, [](double t) {
                                 const double integral = 0.1 * t + 0.5 * t * t * 19.9;
                                 return std::sqrt(-beta_of_vp(t) * std::expm1(-2 * integral));
                               }});
  CHECK(largest_difference(sub, sub_vp()) < 1e-10);
  const double rate = std::log(50 / 0.01);
  const Schedule exploding = custom_schedule(
      "mine",
      {.drift = zero,
       .diffusion = [=](double t) { return 0.01 * std::exp(rate * t) * std::sqrt(2 * rate); },
       .t_min = 0,
       .sigma_start = 0.01});
  CHECK(largest_difference(exploding, ve()) < 1e-10);
  CHECK(exploding.prior_std == doctest::Approx(50).epsilon(1e-10));
  const Schedule noise_is_time =
      custom_schedule("mine", {.drift = zero,
                               .diffusion = [](double t) { return std::sqrt(2 * t); },
                               .t_min = 0.002,
                               .t_max = 80});
  CHECK(largest_difference(noise_is_time, edm()) < 1e-10);
}

TEST_CASE("any smooth drift and diffusion have the moments that quadrature gives") {
  const auto f = [](double t) { return -1 + 2 * std::sin(9 * t); };
  const auto g = [](double t) { return 1 + t * t; };
  const Schedule schedule = custom_schedule("mine", {f, g, 0.01, 2});
  const auto integral_of_f = [](double t) { return -t + 2 * (1 - std::cos(9 * t)) / 9; };
  for (const double t : {0.01, 0.3, 1.1, 2.0}) {
    CAPTURE(t);
    const double alpha = std::exp(integral_of_f(t));
    const double variance = simpson(
        [&](double s) { return g(s) * g(s) * std::exp(2 * (integral_of_f(t) - integral_of_f(s))); },
        0, t);
    CHECK(relative_error(schedule.at(t).alpha, alpha) < 1e-10);
    CHECK(relative_error(schedule.at(t).sigma, std::sqrt(variance)) < 1e-10);
    CHECK(relative_error(forward_sde(schedule.at(t)).drift, f(t)) < 1e-12);
    CHECK(relative_error(forward_sde(schedule.at(t)).diffusion_squared, g(t) * g(t)) < 1e-9);
  }
}

TEST_CASE("a diffusion that jumps is integrated exactly") {
  LinearSde sde = flat();
  sde.diffusion = [](double t) { return t < 0.3 ? 1.0 : 2.0; };
  const Schedule schedule = custom_schedule("mine", sde);
  const double early = -0.5 * std::expm1(-2 * 0.3);
  const double variance = early * std::exp(-2 * 0.7) + 4 * -0.5 * std::expm1(-2 * 0.7);
  CHECK(relative_error(schedule.at(1).sigma, std::sqrt(variance)) < 1e-10);
  CHECK(relative_error(schedule.at(0.3).sigma, std::sqrt(early)) < 1e-10);
}

TEST_CASE("a chain from a function of the step is the chain of its betas") {
  const Schedule chain =
      custom_chain("mine", 1000, [](int64_t i) { return 1e-4 + (i - 1) * (0.02 - 1e-4) / 999; });
  for (const int64_t i : {1, 2, 500, 1000})
    CHECK(relative_error(step_of(chain, i).alpha, step_of(linear_chain(), i).alpha) < 1e-13);
  CHECK(chain.name == "mine");
}

TEST_CASE("a chain from a process's own variances lies on that process") {
  // beta_i = 1 - (alpha_i / alpha_{i-1})^2 of any variance-preserving curve, here the cosine's.
  const auto alpha_sq = [](double t) { return std::pow(std::cos(1.5 * t), 2); };
  const Schedule chain = custom_chain("mine", 50, [&](int64_t i) {
    return 1 - alpha_sq(static_cast<double>(i) / 50) / alpha_sq(static_cast<double>(i - 1) / 50);
  });
  for (const int64_t i : {1, 20, 50}) {
    CHECK(relative_error(step_of(chain, i).alpha, std::cos(1.5 * static_cast<double>(i) / 50)) <
          1e-12);
    CHECK(relative_error(step_of(chain, i).sigma, std::sin(1.5 * static_cast<double>(i) / 50)) <
          1e-12);
  }
}

TEST_CASE("processes that cannot be are refused, with their name and the place") {
  LinearSde infinite = flat();
  infinite.drift = [](double t) { return t > 0.5 ? NAN : -1.0; };
  CHECK_THROWS_WITH_AS(custom_schedule("mine", infinite), doctest::Contains("mine: its drift at"),
                       Error);
  LinearSde rough = flat();
  rough.diffusion = [](double t) { return t > 0.5 ? std::pow(t - 0.5, -0.45) : 1.0; };
  CHECK_THROWS_WITH_AS(custom_schedule("mine", rough), doctest::Contains("too rough"), Error);
  LinearSde silent = flat();
  silent.diffusion = [](double) { return 0.0; };
  CHECK_THROWS_WITH_AS(custom_schedule("mine", silent), doctest::Contains("no noise"), Error);
  LinearSde backwards = flat();
  backwards.t_min = 2;
  CHECK_THROWS_WITH_AS(custom_schedule("mine", backwards), doctest::Contains("t_min < t_max"),
                       Error);
  CHECK_THROWS_WITH_AS(custom_schedule("mine", {}), doctest::Contains("drift and a diffusion"),
                       Error);
  CHECK_THROWS_WITH_AS(custom_schedule("mine", flat()).at(1.5), doctest::Contains("outside"),
                       Error);
  CHECK_THROWS_WITH_AS(custom_chain("mine", 5, [](int64_t) { return 2.0; }),
                       doctest::Contains("mine: beta of step 1"), Error);
  CHECK_THROWS_WITH_AS(custom_chain("mine", 0, [](int64_t) { return 0.1; }),
                       doctest::Contains("got 0"), Error);
}
