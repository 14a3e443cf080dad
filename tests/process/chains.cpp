#include <doctest/doctest.h>

#include <limits>

#include "tests/process/support.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

TEST_CASE("chains end at the alpha_bar that the field's systems have") {
  // Computed from the systems' own formulas in doubles; five digits are known.
  const double tolerance = 1e-4;
  CHECK(relative_error(alpha_bar_at_end(linear_chain(1000)), 4.0358e-5) < tolerance);
  CHECK(relative_error(alpha_bar_at_end(linear_chain(4000)), 4.2467e-5) < tolerance);
  CHECK(relative_error(alpha_bar_at_end(cosine_chain(1000)), 2.4288e-9) < tolerance);
  CHECK(relative_error(alpha_bar_at_end(cosine_chain(4000)), 1.518e-10) < 2e-4);  // four digits
  CHECK(relative_error(
            alpha_bar_at_end(chain_from_betas("sohl-dickstein", sohl_dickstein_betas(1000))),
            9.935e-4) < tolerance);
}

TEST_CASE(
    "the linear chain's largest noise-to-signal ratio is 157.4 and the cosine chain's 2.03e4") {
  const auto ratio = [](const Schedule& s) { return std::exp(-0.5 * log_snr(s.at(s.t_max))); };
  CHECK(ratio(linear_chain(1000)) == doctest::Approx(157.4).epsilon(1e-3));
  CHECK(ratio(cosine_chain(1000)) == doctest::Approx(2.03e4).epsilon(1e-2));
}

TEST_CASE("the linear chain of 1000 loses 2.9e-5 bits of each dimension at its end") {
  CHECK(bits_per_dim(terminal_mismatch_nats(linear_chain(1000)), 1) ==
        doctest::Approx(2.9e-5).epsilon(0.02));  // two digits are known
  CHECK(linear_chain(1000).warnings.empty());
}

TEST_CASE("a linear chain of 100 steps whose betas were not rescaled is warned of, with its L_T") {
  const Schedule chain = chain_from_betas("linear", linear_betas(100, 1e-4, 0.02));
  CHECK(alpha_bar_at_end(chain) == doctest::Approx(0.364).epsilon(2e-3));
  CHECK(bits_per_dim(terminal_mismatch_nats(chain), 1) == doctest::Approx(0.33).epsilon(0.02));
  REQUIRE(chain.warnings.size() == 1);
  CHECK(chain.warnings[0].find("L_T = ") != std::string::npos);
  CHECK(chain.warnings[0].find("raise beta_end") != std::string::npos);
  CHECK(linear_chain(100).warnings.empty());
}

TEST_CASE("a chain's variance is preserved: alpha^2 + sigma^2 = 1") {
  for (const int64_t steps : {2, 20, 1000})
    for (const Schedule& chain : chains(steps))
      for (int64_t i = 0; i <= steps; ++i) {
        const Level l = step_of(chain, i);
        CHECK(l.alpha * l.alpha + l.sigma * l.sigma == doctest::Approx(1).epsilon(1e-14));
      }
}

TEST_CASE("log-SNR falls at every step of every chain, from clean data on") {
  for (const int64_t steps : {1, 2, 3, 10, 19, 20, 21, 1000})
    for (const Schedule& chain : chains(steps)) {
      if (alpha_bar_at_end(chain) == 0) continue;  // one step of 2015's chain erases everything
      CAPTURE(chain.name);
      CAPTURE(steps);
      CHECK(std::isinf(log_snr(chain.at(0))));
      bool falls = true;
      for (int64_t i = 1; i <= steps; ++i)
        falls = falls && log_snr(step_of(chain, i)) < log_snr(step_of(chain, i - 1));
      CHECK(falls);
      CHECK(std::isfinite(log_snr(chain.at(1))));
    }
}

TEST_CASE("sigma near clean data keeps every digit, in a chain of tiny betas") {
  // sigma_t^2 = 1 - (1 - beta)^t; for beta = 1e-12 it is t beta to 12 digits.
  const Schedule chain = chain_from_betas("tiny", std::vector<double>(10, 1e-12));
  for (int64_t i = 1; i <= 10; ++i) {
    const double sigma = step_of(chain, i).sigma;
    CHECK(relative_error(sigma * sigma, 1e-12 * static_cast<double>(i)) < 1e-11);
  }
}

TEST_CASE(
    "alpha_bar and its complement are the product of 1 - beta, where float32 loses three digits") {
  // 1 - alpha_bar of a float32 product is off by 1.7e-4 on the linear chain of 1000, by 1e-3 on
  // that of 4000: tables are kept in doubles and in log space.
  for (const int64_t steps : {1000, 4000}) {
    const std::vector<double> betas =
        linear_betas(steps, rescaled_beta(1e-4, steps), rescaled_beta(0.02, steps));
    const Schedule chain = chain_from_betas("linear", betas);
    long double product = 1;
    double worst = 0;
    for (int64_t i = 1; i <= steps; ++i) {
      product *= 1 - static_cast<long double>(betas[static_cast<size_t>(i - 1)]);
      const Level l = step_of(chain, i);
      worst = std::max({worst, relative_error(l.alpha * l.alpha, static_cast<double>(product)),
                        relative_error(l.sigma * l.sigma, static_cast<double>(1 - product))});
    }
    CHECK(worst < 2e-13);  // log alpha_bar = -10 is a sum of `steps` doubles
  }
}

TEST_CASE("cosine betas are those of the squared cosine, without its cancellation") {
  const auto alpha_bar = [](long double t) {
    const long double c = std::cos((t + 0.008L) / 1.008L * 1.57079632679489661923L);
    return c * c;
  };
  for (const int64_t steps : {10, 1000, 4000}) {
    const std::vector<double> betas = cosine_betas(steps);
    double worst = 0;
    for (int64_t i = 0; i + 2 < steps; ++i) {
      const long double n = static_cast<long double>(steps), t = static_cast<long double>(i);
      const double expected = static_cast<double>(1 - alpha_bar((t + 1) / n) / alpha_bar(t / n));
      if (expected < 0.999)
        worst = std::max(worst, relative_error(betas[static_cast<size_t>(i)], expected));
    }
    CHECK(worst < 1e-13);
    CHECK(betas.back() == 0.999);
  }
}

TEST_CASE("the square root of the scaled linear betas is evenly spaced") {
  const std::vector<double> betas = scaled_linear_betas(50, 0.00085, 0.012);
  CHECK(betas.front() == doctest::Approx(0.00085).epsilon(1e-12));
  CHECK(betas.back() == doctest::Approx(0.012).epsilon(1e-12));
  for (size_t i = 1; i + 1 < betas.size(); ++i)
    CHECK(2 * std::sqrt(betas[i]) ==
          doctest::Approx(std::sqrt(betas[i - 1]) + std::sqrt(betas[i + 1])).epsilon(1e-12));
}

TEST_CASE("sigmoid betas are symmetric about the mean of their ends") {
  const std::vector<double> betas = sigmoid_betas(101, 1e-4, 0.02);
  for (size_t i = 0; i < betas.size(); ++i)
    CHECK(betas[i] + betas[100 - i] == doctest::Approx(0.0201).epsilon(1e-12));
  CHECK(relative_error(betas[0], 1e-4 + 0.0199 / (1 + std::exp(6.0))) < 1e-13);
}

TEST_CASE("the chain of 2015 erases the same part of the signal at each step") {
  // alpha_bar_t = prod (1 - 1/d_s), d_s evenly spaced from T to 2: nearly (T - t) / T.
  const int64_t steps = 200;
  const std::vector<double> betas = sohl_dickstein_betas(steps);
  CHECK(betas[1] == doctest::Approx(1 / (200 - 198.0 / 199)).epsilon(1e-13));
  CHECK(betas.back() == 0.5);
  const Schedule chain = chain_from_betas("sohl-dickstein", betas);
  for (int64_t i = 1; i < steps; ++i) {
    const double alpha = step_of(chain, i).alpha, line = 1.0 - static_cast<double>(i) / 200;
    CHECK(std::abs(alpha * alpha - line) < 0.006);  // d_s is off by at most 1 of T
  }
}

TEST_CASE("the first beta of a long chain of 2015 is its floor") {
  CHECK(sohl_dickstein_betas(2000)[0] == 1.001e-3);
  CHECK(sohl_dickstein_betas(500)[0] == 1.0 / 500);
}

TEST_CASE("zero terminal SNR ends in pure noise and leaves the first step as it was") {
  const std::vector<double> before = linear_betas(1000, 1e-4, 0.02);
  const std::vector<double> after = zero_terminal_snr(before);
  CHECK(after.back() == 1);
  CHECK(after.front() == before.front());
  const Schedule chain = chain_from_betas("rescaled", after);
  CHECK(chain.at(1).alpha == 0);
  CHECK(chain.at(1).sigma == 1);
  CHECK(terminal_mismatch_nats(chain) == 0);
}

TEST_CASE("zero terminal SNR shifts and scales the amplitudes") {
  const std::vector<double> before = linear_betas(50, 2e-3, 0.2);
  const Schedule chain = chain_from_betas("before", before),
                 rescaled = chain_from_betas("after", zero_terminal_snr(before));
  const double first = step_of(chain, 1).alpha, last = step_of(chain, 50).alpha;
  for (int64_t i = 1; i < 50; ++i)
    CHECK(
        step_of(rescaled, i).alpha ==
        doctest::Approx((step_of(chain, i).alpha - last) * first / (first - last)).epsilon(1e-12));
}

TEST_CASE("a chain exists at its own times only") {
  const Schedule chain = linear_chain(10);
  CHECK(chain.at(0).sigma == 0);
  CHECK(chain.at(0.3).alpha > chain.at(0.4).alpha);
  CHECK(std::isnan(chain.at(0.5).d_alpha));
  for (const double t : {0.05, -0.1, 1.1, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_WITH_AS(chain.at(t), doctest::Contains("interpolated(chain)"), Error);
}

TEST_CASE("impossible chains are refused, saying which number is wrong") {
  const auto make = [](std::vector<double> betas) { return chain_from_betas("mine", betas); };
  CHECK_THROWS_WITH_AS(make({}), doctest::Contains("got 0"), Error);
  CHECK_THROWS_WITH_AS(linear_chain(0), doctest::Contains("got 0"), Error);
  CHECK_THROWS_WITH_AS(cosine_chain(-5), doctest::Contains("got -5"), Error);
  CHECK_THROWS_WITH_AS(make({0.1, 1.5}), doctest::Contains("step 2 is 1.5"), Error);
  CHECK_THROWS_WITH_AS(make({-0.1, 0.5}), doctest::Contains("step 1 is -0.1"), Error);
  CHECK_THROWS_WITH_AS(make({0, 0.5}), doctest::Contains("step 1 is 0"), Error);
  CHECK_THROWS_WITH_AS(make({0.5, 1, 0.5}), doctest::Contains("only the last may be 1"), Error);
  CHECK_THROWS_AS(make({std::numeric_limits<double>::quiet_NaN()}), Error);
}

TEST_CASE("impossible ends of a beta schedule are refused") {
  CHECK_THROWS_WITH_AS(linear_betas(10, 0.02, 1e-4), doctest::Contains("beta_start = 0.02"), Error);
  CHECK_THROWS_WITH_AS(scaled_linear_betas(10, 0.1, 2), doctest::Contains("beta_end = 2"), Error);
  CHECK_THROWS_AS(sigmoid_betas(10, 0, 0.1), Error);
  CHECK_THROWS_AS(cosine_betas(10, 0), Error);
  CHECK_THROWS_WITH_AS(zero_terminal_snr({0.5}), doctest::Contains("at least 2 steps"), Error);
  CHECK_THROWS_WITH_AS(zero_terminal_snr({0.5, 7}), doctest::Contains("step 2 is 7"), Error);
}
