#include "tweedie/process/posterior.h"

#include <doctest/doctest.h>

#include "tests/process/support.h"
#include "tweedie/process/path.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// Conditions the joint Gaussian of (x_s, x_t) given x_0 on x_t, in extended precision.
struct Conditioned {
  long double c_x, c_x0, var, var_large;
};

Conditioned brute_force(const Level& s, const Level& t) {
  const long double alpha_ts = static_cast<long double>(t.alpha) / s.alpha,
                    var_s = static_cast<long double>(s.sigma) * s.sigma,
                    var_t = static_cast<long double>(t.sigma) * t.sigma;
  const long double covariance = alpha_ts * var_s, gain = covariance / var_t;
  return {gain, s.alpha - gain * t.alpha, var_s - gain * covariance, var_t - alpha_ts * covariance};
}

void check_equal(const Level& s, const Level& t, double tolerance = 1e-12) {
  const Posterior got = posterior(s, t);
  const Conditioned expected = brute_force(s, t);
  CAPTURE(s.t);
  CAPTURE(t.t);
  const double scale = std::max(1.0, t.sigma * t.sigma);  // EDM's noise goes up to 80
  CHECK(std::abs(got.c_x - static_cast<double>(expected.c_x)) < tolerance);
  CHECK(std::abs(got.c_x0 - static_cast<double>(expected.c_x0)) < tolerance);
  CHECK(std::abs(got.var - static_cast<double>(expected.var)) < tolerance * scale);
  CHECK(std::abs(got.var_large - static_cast<double>(expected.var_large)) < tolerance * scale);
}

}  // namespace

TEST_CASE("the posterior is the joint Gaussian conditioned on x_t, at every step of a chain") {
  for (const Schedule& chain : chains(1000))
    for (const int64_t i : {2, 3, 10, 100, 500, 900, 999, 1000})
      check_equal(step_of(chain, i - 1), step_of(chain, i));
}

TEST_CASE("the posterior is the joint Gaussian conditioned on x_t, for any two times") {
  for (const Schedule& schedule : continuous_schedules())
    for (const double s : {0.0, 0.1, 0.5, 0.9})
      for (const double t : {0.11, 0.51, 0.91, 1.0}) {
        if (s >= t) continue;
        CAPTURE(schedule.name);
        const double range = schedule.t_max - schedule.t_min;
        check_equal(schedule.at(schedule.t_min + s * range),
                    schedule.at(t == 1 ? schedule.t_max : schedule.t_min + t * range));
      }
}

TEST_CASE("the posterior of clean data is that data, known for certain") {
  for (const Level& t : {linear_chain().at(0.5), edm().at(3), flow().at(1)}) {
    const Posterior q = posterior(clean, t);
    CHECK(q.c_x == 0);
    CHECK(q.c_x0 == 1);
    CHECK(q.var == 0);
    CHECK(q.var_large == t.sigma * t.sigma);
  }
}

TEST_CASE("pure noise says nothing: its posterior is the forward marginal") {
  const Level s = flow().at(0.4), t = flow().at(1);
  const Posterior q = posterior(s, t);
  CHECK(q.c_x == 0);
  CHECK(q.c_x0 == s.alpha);
  CHECK(q.var == s.sigma * s.sigma);
  CHECK(q.var_large == 1);
}

TEST_CASE("var_large of neighbouring steps is the chain's beta") {
  // log-SNR is known to 1e-15; its difference over a step is about beta, the smallest 2.5e-5.
  for (const int64_t steps : {10, 1000, 4000}) {
    const std::vector<double> betas =
        linear_betas(steps, rescaled_beta(1e-4, steps), rescaled_beta(0.02, steps));
    const Schedule chain = chain_from_betas("linear", betas);
    double worst = 0;
    for (int64_t i = 1; i <= steps; ++i)
      worst = std::max(worst,
                       relative_error(posterior(step_of(chain, i - 1), step_of(chain, i)).var_large,
                                      betas[static_cast<size_t>(i - 1)]));
    CHECK(worst < 1e-10);
  }
}

TEST_CASE("equations 6 and 7 of DDPM hold on its chain") {
  const std::vector<double> betas = linear_betas(1000, 1e-4, 0.02);
  const Schedule chain = chain_from_betas("linear", betas);
  for (const int64_t i : {2, 50, 500, 1000}) {
    const Level s = step_of(chain, i - 1), t = step_of(chain, i);
    const double beta = betas[static_cast<size_t>(i - 1)], kept = s.sigma * s.sigma,
                 total = t.sigma * t.sigma;
    const Posterior q = posterior(s, t);
    CHECK(relative_error(q.c_x0, s.alpha * beta / total) < 1e-11);
    CHECK(relative_error(q.c_x, std::sqrt(1 - beta) * kept / total) < 1e-11);
    CHECK(relative_error(q.var, kept / total * beta) < 1e-11);
  }
}

TEST_CASE("a respaced chain's betas are those of the steps it keeps, composed") {
  const Schedule chain = cosine_chain(1000);
  const Path path = path_through(chain, linspace_steps(1000, 37));
  for (size_t i = 0; i + 2 < path.size(); ++i) {
    const double kept = path[i].alpha / path[i + 1].alpha;
    CHECK(relative_error(posterior(path[i + 1], path[i]).var_large, 1 - kept * kept) < 1e-10);
  }
}

TEST_CASE("posteriors compose: s from u is s from t from u, averaged over t") {
  // q(x_s | x_u, x_0) = int q(x_s | x_t, x_0) q(x_t | x_u, x_0) dx_t.
  for (const Schedule& schedule : continuous_schedules()) {
    const double range = schedule.t_max - schedule.t_min;
    const Level s = schedule.at(schedule.t_min + 0.2 * range),
                t = schedule.at(schedule.t_min + 0.5 * range),
                u = schedule.at(schedule.t_min + 0.8 * range);
    const Posterior near = posterior(s, t), far = posterior(t, u), both = posterior(s, u);
    CHECK(both.c_x == doctest::Approx(near.c_x * far.c_x).epsilon(1e-12));
    CHECK(both.c_x0 == doctest::Approx(near.c_x0 + near.c_x * far.c_x0).epsilon(1e-12));
    CHECK(both.var == doctest::Approx(near.var + near.c_x * near.c_x * far.var).epsilon(1e-12));
  }
}
