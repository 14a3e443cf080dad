#include "tweedie/process/sde.h"

#include <doctest/doctest.h>

#include "tests/process/support.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

TEST_CASE("the SDE of VP is -beta/2 x dt + sqrt(beta) dw") {
  const Schedule schedule = vp_linear(0.1, 20);
  for (const double t : {1e-5, 0.3, 1.0}) {
    const double beta = 0.1 + t * 19.9;
    const ForwardSde sde = forward_sde(schedule.at(t));
    CHECK(relative_error(sde.drift, -0.5 * beta) < 1e-14);
    CHECK(relative_error(sde.diffusion_squared, beta) < 1e-13);
  }
}

TEST_CASE("the SDE of sub-VP adds beta (1 - alpha^4) of variance") {
  const Schedule schedule = sub_vp(0.1, 20);
  for (const double t : {1e-5, 0.3, 1.0}) {
    const Level level = schedule.at(t);
    const double beta = 0.1 + t * 19.9, log_alpha = std::log(level.alpha);
    CHECK(relative_error(forward_sde(level).diffusion_squared, beta * -std::expm1(4 * log_alpha)) <
          1e-10);
  }
}

TEST_CASE("g^2 is the noise's share of the fall of log-SNR, on every continuous schedule") {
  // g^2 = -sigma^2 d log_snr/dt, the derivative by central differences: error about h^2.
  for (const Schedule& schedule : continuous_schedules()) {
    CAPTURE(schedule.name);
    const double range = schedule.t_max - schedule.t_min, t = schedule.t_min + 0.4 * range,
                 h = 1e-5 * range;
    const Level level = schedule.at(t);
    const double slope = (log_snr(schedule.at(t + h)) - log_snr(schedule.at(t - h))) / (2 * h);
    CHECK(relative_error(forward_sde(level).diffusion_squared, -level.sigma * level.sigma * slope) <
          1e-7);
  }
}

TEST_CASE("levels without a tangent or without signal have no SDE") {
  CHECK_THROWS_AS(forward_sde(linear_chain().at(0.5)), Error);
  CHECK_THROWS_AS(forward_sde(flow().at(1)), Error);
}
