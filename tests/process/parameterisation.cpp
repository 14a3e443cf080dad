#include "tweedie/process/parameterisation.h"

#include <doctest/doctest.h>

#include "tests/process/support.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

const NoiseLabel time_label = [](const Level& l) { return 1000 * l.t; };
constexpr double x0 = -0.7, eps = 1.3;

std::vector<Level> levels() {
  std::vector<Level> out;
  for (const Schedule& schedule : continuous_schedules())
    for (const double part : {0.01, 0.3, 0.9})
      out.push_back(schedule.at(schedule.t_min + part * (schedule.t_max - schedule.t_min)));
  out.push_back(linear_chain().at(0.001));
  out.push_back(linear_chain().at(1));
  return out;
}

double noisy(const Level& l) { return l.alpha * x0 + l.sigma * eps; }

/// The F that makes the prediction of x0 exact.
double target(const Scaling& s, const Level& l) { return (x0 - s.c_skip * noisy(l)) / s.c_out; }

/// Error of the x0 that the paper's target gives: relative, to the terms it is the difference of.
double round_trip_error(const Scaling& s, const Level& l, double paper) {
  const double skip = s.c_skip * noisy(l), out = s.c_out * paper;
  return std::abs(skip + out - x0) / std::max({1.0, std::abs(skip), std::abs(out)});
}

void check_target(const Parameterisation& p, double (*paper)(const Level&)) {
  for (const Level& l : levels()) {
    CAPTURE(l.alpha);
    CAPTURE(l.sigma);
    CHECK(round_trip_error(p(l), l, paper(l)) < 1e-14);
    // Dividing by c_out undoes the rounding of x_t, which is 1e-16 of its largest term.
    const double amplified = 1e-14 * std::max(1.0, std::abs(noisy(l))) *
                             std::max(1.0, std::abs(p(l).c_skip)) / std::abs(p(l).c_out);
    CHECK(std::abs(target(p(l), l) - paper(l)) <=
          amplified + 1e-14 * std::max(1.0, std::abs(paper(l))));
  }
}

}  // namespace

TEST_CASE("the target of eps prediction is the noise") {
  check_target(eps_prediction(time_label), [](const Level&) { return eps; });
}

TEST_CASE("the target of x0 prediction is the data") {
  check_target(x0_prediction(time_label), [](const Level&) { return x0; });
}

TEST_CASE("the target of v prediction is alpha eps - sigma x0, on every process") {
  check_target(v_prediction(time_label),
               [](const Level& l) { return l.alpha * eps - l.sigma * x0; });
}

TEST_CASE("the target of velocity prediction is eps - x0") {
  check_target(velocity_prediction(time_label), [](const Level&) { return eps - x0; });
}

TEST_CASE("on the flow the velocity is the path's own derivative") {
  const Level l = flow().at(0.3);
  CHECK(l.d_alpha * x0 + l.d_sigma * eps == eps - x0);
}

TEST_CASE("the target of score prediction is -eps / sigma") {
  check_target(score_prediction(time_label), [](const Level& l) { return -eps / l.sigma; });
}

TEST_CASE("EDM's four scalars are those of its table 1, on any process") {
  const double data = 0.5;
  for (const Level& l : levels()) {
    const Scaling s = edm_prediction(data)(l);
    const double sigma = l.sigma / l.alpha, total = sigma * sigma + data * data;
    CHECK(relative_error(s.c_skip * l.alpha, data * data / total) < 1e-14);
    CHECK(relative_error(s.c_out, sigma * data / std::sqrt(total)) < 1e-14);
    CHECK(relative_error(s.c_in * l.alpha, 1 / std::sqrt(total)) < 1e-14);
    CHECK(s.c_noise == doctest::Approx(std::log(sigma) / 4).epsilon(1e-14));
  }
}

TEST_CASE("EDM's input and target have variance 1 when the data has sigma_data^2") {
  const double data = 0.3;
  for (const Level& l : levels()) {
    const Scaling s = edm_prediction(data)(l);
    const double input = s.c_in * s.c_in * (l.alpha * l.alpha * data * data + l.sigma * l.sigma);
    const double of_x0 = (1 - s.c_skip * l.alpha) / s.c_out, of_eps = s.c_skip * l.sigma / s.c_out;
    CHECK(input == doctest::Approx(1).epsilon(1e-13));
    // 1 - c_skip alpha is 1e-5 at the smallest noise.
    CHECK(of_x0 * of_x0 * data * data + of_eps * of_eps == doctest::Approx(1).epsilon(1e-10));
  }
}

TEST_CASE("the network is told the label it was trained with") {
  const Level l = vp_linear().at(0.25);
  for (const auto& make :
       {eps_prediction, x0_prediction, v_prediction, velocity_prediction, score_prediction}) {
    CHECK(make(time_label)(l).c_noise == 250);
    CHECK(make(time_label)(l).c_in == 1);
  }
}

TEST_CASE("at pure noise v, velocity and x0 say the data; eps, score and edm refuse") {
  const Level l = flow().at(1);
  CHECK(target(v_prediction(time_label)(l), l) == doctest::Approx(-x0).epsilon(1e-15));
  CHECK(target(velocity_prediction(time_label)(l), l) == doctest::Approx(eps - x0).epsilon(1e-15));
  CHECK(target(x0_prediction(time_label)(l), l) == x0);
  CHECK_THROWS_WITH_AS(eps_prediction(time_label)(l), doctest::Contains("use v or x0"), Error);
  CHECK_THROWS_WITH_AS(score_prediction(time_label)(l), doctest::Contains("use v or x0"), Error);
  CHECK_THROWS_AS(edm_prediction()(l), Error);
  CHECK_THROWS_WITH_AS(edm_prediction(0), doctest::Contains("sigma_data"), Error);
}

TEST_CASE("VE prediction's target is minus the noise, on every process") {
  check_target(ve_prediction(), [](const Level&) { return -eps; });
  CHECK(ve_prediction()(ve().at(0.5)).c_in == 1);
}

TEST_CASE("iDDPM prediction's target is the noise, and its input has variance 1") {
  check_target(iddpm_prediction(), [](const Level&) { return eps; });
  for (const Level& l : levels())
    CHECK(iddpm_prediction()(l).c_in * std::sqrt(l.alpha * l.alpha + l.sigma * l.sigma) ==
          doctest::Approx(1).epsilon(1e-14));
}

TEST_CASE("on its own chain iDDPM prediction is eps prediction that is told the step from 0") {
  const Schedule chain = cosine_chain(200);
  for (const int64_t i : {1, 2, 100, 199, 200}) {
    const Level l = step_of(chain, i);
    const Scaling s = iddpm_prediction(200)(l);
    CHECK(s.c_noise == static_cast<double>(i - 1));
    CHECK(s.c_in == doctest::Approx(1).epsilon(1e-14));
    CHECK(s.c_out == doctest::Approx(-l.sigma / l.alpha).epsilon(1e-14));
  }
  CHECK(iddpm_prediction(200)(Level{0, 1, 1e-9, 0, 0}).c_noise == -1);
  CHECK(iddpm_prediction(200)(Level{0, 1e-9, 1, 0, 0}).c_noise == 199);
}
