#include <doctest/doctest.h>

#include "tests/process/support.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

TEST_CASE("an interpolated chain goes through the chain's knots") {
  for (const Schedule& chain : chains(50)) {
    const Schedule smooth = interpolated(chain);
    CHECK(smooth.steps == 0);
    for (int64_t i = 1; i <= 50; ++i) {
      const Level knot = step_of(chain, i), here = smooth.at(knot.t);
      CHECK(relative_error(here.alpha, knot.alpha) < 1e-12);
      CHECK(relative_error(here.sigma, knot.sigma) < 1e-12);
    }
  }
}

TEST_CASE("an interpolated chain's log-SNR falls everywhere") {
  for (const Schedule& chain : chains(20)) {
    const Schedule smooth = interpolated(chain);
    double before = INFINITY;
    bool falls = true;
    for (int i = 0; i <= 2000; ++i) {
      const double now =
          log_snr(smooth.at(smooth.t_min + (smooth.t_max - smooth.t_min) * i / 2000.0));
      falls = falls && now < before;
      before = now;
    }
    CAPTURE(chain.name);
    CHECK(falls);
  }
}

TEST_CASE("an interpolated chain has the tangents of its own curve") {
  const Schedule smooth = interpolated(linear_chain(20));
  for (const double t : {0.06, 0.123, 0.5071, 0.987}) {
    const double h = 1e-5;  // central difference: error h^2 and 1e-16 / h, both about 1e-10
    const Level l = smooth.at(t), up = smooth.at(t + h), down = smooth.at(t - h);
    CHECK(l.d_alpha == doctest::Approx((up.alpha - down.alpha) / (2 * h)).epsilon(1e-6));
    CHECK(l.d_sigma == doctest::Approx((up.sigma - down.sigma) / (2 * h)).epsilon(1e-6));
  }
}

TEST_CASE("tangents are continuous at the knots of an interpolated chain") {
  const Schedule smooth = interpolated(cosine_chain(20));
  for (int i = 2; i < 20; ++i) {
    const double t = i / 20.0;
    CHECK(smooth.at(t - 1e-9).d_alpha ==
          doctest::Approx(smooth.at(t + 1e-9).d_alpha).epsilon(1e-5));
  }
}

TEST_CASE("an interpolated linear chain is the VP process it discretises") {
  // improved-diffusion's linear chain is the continuous VP(0.1, 20) to O(1/T).
  const Schedule smooth = interpolated(linear_chain(10000)), process = vp_linear();
  for (const double t : {0.1, 0.5, 0.9})
    CHECK(log_snr(smooth.at(t)) == doctest::Approx(log_snr(process.at(t))).epsilon(2e-3));
}

TEST_CASE("a chain that cannot be interpolated is refused") {
  CHECK_THROWS_WITH_AS(interpolated(linear_chain(1)), doctest::Contains("at least 2 steps"), Error);
  CHECK_THROWS_WITH_AS(interpolated(vp_linear()), doctest::Contains("continuous already"), Error);
  const Schedule chain = chain_from_betas("zero", zero_terminal_snr(linear_betas(9, 0.1, 0.2)));
  CHECK_THROWS_WITH_AS(interpolated(chain), doctest::Contains("pure noise"), Error);
  CHECK_THROWS_WITH_AS(interpolated(linear_chain(10)).at(0.01), doctest::Contains("outside"),
                       Error);
}
