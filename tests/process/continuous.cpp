#include <doctest/doctest.h>

#include "tests/process/support.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// Fourth-order central difference.
template <class Function>
double slope(const Function& f, double t, double h) {
  return (8 * (f(t + h) - f(t - h)) - (f(t + 2 * h) - f(t - 2 * h))) / (12 * h);
}

}  // namespace

TEST_CASE("tangents are the derivatives of alpha and sigma") {
  for (const Schedule& schedule : continuous_schedules())
    for (const double part : {0.01, 0.1, 0.5, 0.9, 0.99}) {
      CAPTURE(schedule.name);
      CAPTURE(part);
      const double range = schedule.t_max - schedule.t_min, t = schedule.t_min + part * range;
      const double h = 1e-4 * range;  // truncation (h/t)^4 and rounding 1e-16/h: both near 1e-10
      const Level l = schedule.at(t);
      const double alpha = slope([&](double at) { return schedule.at(at).alpha; }, t, h),
                   sigma = slope([&](double at) { return schedule.at(at).sigma; }, t, h);
      CHECK(l.d_alpha == doctest::Approx(alpha).epsilon(1e-7));
      CHECK(l.d_sigma == doctest::Approx(sigma).epsilon(1e-7));
    }
}

TEST_CASE("VP schedules preserve variance: alpha^2 + sigma^2 = 1") {
  for (const Schedule& schedule : {vp_linear(), cosine(), log_snr_linear()})
    for (int i = 0; i <= 100; ++i) {
      const Level l = schedule.at(schedule.t_min + i / 100.0 * (schedule.t_max - schedule.t_min));
      CHECK(l.alpha * l.alpha + l.sigma * l.sigma == doctest::Approx(1).epsilon(1e-14));
    }
}

TEST_CASE("log-SNR falls from the first to the last time") {
  for (const Schedule& schedule : continuous_schedules()) {
    CAPTURE(schedule.name);
    double before = log_snr(schedule.at(schedule.t_min));
    CHECK(std::isfinite(before));
    bool falls = true;
    for (int i = 1; i <= 1000; ++i) {
      const double t = i == 1000 ? schedule.t_max
                                 : schedule.t_min + i / 1000.0 * (schedule.t_max - schedule.t_min);
      const double now = log_snr(schedule.at(t));
      falls = falls && now < before;
      before = now;
    }
    CHECK(falls);
  }
}

TEST_CASE("VP ends at alpha_bar = exp(-10.05), a noise-to-signal ratio of 152.2") {
  CHECK(relative_error(alpha_bar_at_end(vp_linear()), std::exp(-10.05)) < 1e-13);
  CHECK(relative_error(alpha_bar_at_end(vp_linear()), 4.3186e-5) < 1e-4);
  CHECK(std::exp(-0.5 * log_snr(vp_linear().at(1))) == doctest::Approx(152.2).epsilon(1e-3));
}

TEST_CASE("VP near clean data keeps the digits of sigma") {
  const Level l = vp_linear(0.1, 20, 1e-9).at(1e-9);
  const double integral = 1e-10 + 0.5 * 19.9e-18;  // sigma^2 = integral - integral^2 / 2
  CHECK(relative_error(l.sigma * l.sigma, integral - 0.5 * integral * integral) < 1e-13);
}

TEST_CASE("sub-VP's sigma is the square of VP's, at the same alpha") {
  for (const double t : {1e-5, 1e-3, 0.2, 0.7, 1.0}) {
    const Level below = sub_vp().at(t), vp = vp_linear().at(t);
    CHECK(below.alpha == vp.alpha);
    CHECK(relative_error(below.sigma, vp.sigma * vp.sigma) < 1e-13);
  }
}

TEST_CASE("VE's sigma grows by the same factor in equal times") {
  const Schedule schedule = ve(0.01, 50);
  CHECK(schedule.at(0).sigma == 0.01);
  CHECK(schedule.at(1).sigma == doctest::Approx(50).epsilon(1e-14));
  CHECK(schedule.at(0.5).sigma == doctest::Approx(std::sqrt(0.5)).epsilon(1e-14));
  CHECK(schedule.prior_std == 50);
}

TEST_CASE("EDM's time is its noise, flow is straight and log-snr-linear is linear") {
  CHECK(edm().at(3).sigma == 3);
  CHECK(edm().at(3).alpha == 1);
  CHECK(flow().at(0.25).alpha == 0.75);
  CHECK(flow().at(1).alpha == 0);
  const Schedule schedule = log_snr_linear(-13.3, 5);
  for (const double t : {0.0, 0.1, 0.5, 0.9, 1.0})
    CHECK(log_snr(schedule.at(t)) == doctest::Approx(13.3 - 18.3 * t).epsilon(1e-13));
}

TEST_CASE("the cosine keeps the digits of alpha where hardly any signal is left") {
  const double left = 1e-9, t = 1 - left;  // 1 - t is exact and differs from 1e-9 by rounding
  CHECK(relative_error(cosine(1e-4, t).at(t).alpha, std::sin(1.57079632679489661923 * (1 - t))) <
        1e-15);
}

TEST_CASE("a continuous schedule that stops short of its prior is warned of") {
  CHECK(vp_linear(0.1, 2).warnings.size() == 1);
  CHECK(ve(0.01, 2).warnings.size() == 1);
  CHECK(cosine(1e-4, 0.8).warnings[0].find("raise the noise at t_max") != std::string::npos);
  for (const Schedule& schedule : continuous_schedules()) {
    CAPTURE(schedule.name);
    CHECK(schedule.warnings.empty());
  }
}

TEST_CASE("the terminal mismatch is the divergence of two Gaussians") {
  // KL(N(m, v) || N(0, p)) = (v / p - 1 - log(v / p) + m^2 / p) / 2, far from cancellation.
  const Schedule schedule = vp_linear(0.1, 2);
  const Level end = schedule.at(1);
  const double v = end.sigma * end.sigma;
  for (const double x0_squared : {0.0, 1.0, 9.0})
    CHECK(terminal_mismatch_nats(schedule, x0_squared) ==
          doctest::Approx(0.5 * (v - 1 - std::log(v) + end.alpha * end.alpha * x0_squared))
              .epsilon(1e-13));
  CHECK(terminal_mismatch_nats(ve(0.01, 10)) == doctest::Approx(0.5 / 100).epsilon(1e-12));
  CHECK(terminal_mismatch_nats(flow()) == 0);
}

TEST_CASE("times off the range are refused, naming it") {
  for (const Schedule& schedule : continuous_schedules()) {
    CAPTURE(schedule.name);
    CHECK_NOTHROW(schedule.at(schedule.t_min));
    CHECK_NOTHROW(schedule.at(schedule.t_max));
    CHECK_THROWS_WITH_AS(schedule.at(schedule.t_max + 0.1), doctest::Contains("is outside ["),
                         Error);
    CHECK_THROWS_AS(schedule.at(schedule.t_min - 0.1), Error);
    CHECK_THROWS_AS(schedule.at(std::nan("")), Error);
  }
}

TEST_CASE("impossible continuous schedules are refused") {
  CHECK_THROWS_WITH_AS(vp_linear(20, 0.1), doctest::Contains("beta_min <= beta_max"), Error);
  CHECK_THROWS_AS(vp_linear(0, 0), Error);
  CHECK_THROWS_AS(sub_vp(0.1, 20, 0), Error);
  CHECK_THROWS_WITH_AS(ve(1, 0.1), doctest::Contains("got 1 and 0.1"), Error);
  CHECK_THROWS_AS(edm(0, 80), Error);
  CHECK_THROWS_AS(edm(0.1, INFINITY), Error);
  CHECK_THROWS_AS(cosine(0.5, 0.5), Error);
  CHECK_THROWS_AS(cosine(0, 0.5), Error);
  CHECK_THROWS_AS(flow(1), Error);
  CHECK_THROWS_WITH_AS(log_snr_linear(5, -13.3), doctest::Contains("gamma_min < gamma_max"), Error);
}
