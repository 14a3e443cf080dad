#include "tweedie/process/tabulated.h"

#include <doctest/doctest.h>

#include "tests/process/support.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

struct GammaTable {
  std::vector<double> gamma, slope;
};

/// A steep sigmoid on a line.
double curve_at(double t) { return -10 + 6 * t + 8 / (1 + std::exp(-30 * (t - 0.4))); }
double slope_at(double t) {
  const double s = 1 / (1 + std::exp(-30 * (t - 0.4)));
  return 6 + 240 * s * (1 - s);
}

GammaTable table_of(int64_t size) {
  GammaTable out;
  for (int64_t i = 0; i < size; ++i) {
    const double t = static_cast<double>(i) / static_cast<double>(size - 1);
    out.gamma.push_back(curve_at(t));
    out.slope.push_back(slope_at(t));
  }
  return out;
}

double table_error(int64_t size) {
  const GammaTable table = table_of(size);
  const Schedule schedule = tabulated_schedule("mine", table.gamma, table.slope);
  double most = 0;
  for (int i = 0; i <= 10000; ++i)
    most = std::max(most, std::abs(-log_snr(schedule.at(i / 10000.0)) - curve_at(i / 10000.0)));
  return most;
}

}  // namespace

TEST_CASE("a table with its slopes is followed to the fourth power of its spacing") {
  CHECK(table_error(2049) < 1e-8);
  CHECK(table_error(129) / table_error(257) == doctest::Approx(16).epsilon(0.1));
}

TEST_CASE("a tabulated schedule has the curve's tangents and preserves variance") {
  const GammaTable table = table_of(1025);
  const Schedule schedule = tabulated_schedule("mine", table.gamma, table.slope);
  for (const double t : {0.0, 0.123, 0.4, 0.77, 1.0}) {
    const Level l = schedule.at(t);
    CHECK(l.alpha * l.alpha + l.sigma * l.sigma == doctest::Approx(1).epsilon(1e-14));
    CHECK(2 * (l.d_sigma / l.sigma - l.d_alpha / l.alpha) ==
          doctest::Approx(slope_at(t)).epsilon(1e-6));
  }
}

TEST_CASE("slopes too steep for their knots are made smaller, so that log-SNR still falls") {
  const Schedule schedule = tabulated_schedule("mine", {0, 1, 5, 6}, {0, 30, 100, 50});
  double before = log_snr(schedule.at(0));
  for (int i = 1; i <= 1000; ++i) {
    const double now = log_snr(schedule.at(i / 1000.0));
    CHECK(now < before);
    before = now;
  }
  CHECK(-before == doctest::Approx(6).epsilon(1e-13));
}

TEST_CASE("tables that are no schedule are refused with the entry") {
  CHECK_THROWS_WITH_AS(tabulated_schedule("mine", {0, 2, 1}, {1, 1, 1}),
                       doctest::Contains("entry 2"), Error);
  CHECK_THROWS_WITH_AS(tabulated_schedule("mine", {0, 1}, {1, -1}), doctest::Contains("entry 1"),
                       Error);
  CHECK_THROWS_WITH_AS(tabulated_schedule("mine", {0, NAN}, {1, 1}), doctest::Contains("entry 1"),
                       Error);
  CHECK_THROWS_WITH_AS(tabulated_schedule("mine", {0}, {1}), doctest::Contains("2 or more"), Error);
  CHECK_THROWS_WITH_AS(tabulated_schedule("mine", {0, 1}, {1}), doctest::Contains("as many slopes"),
                       Error);
}
