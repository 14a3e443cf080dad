// How the weights of paths get better with more levels: minutes of paths, so that a slope is known
// to 0.05.
#include <doctest/doctest.h>

#include "tests/model/line.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

struct Slopes {
  double gap, variance;
};

/// Over T = 30 .. 1000.
Slopes slopes(Variance variance) {
  const std::vector<double> steps{30, 100, 300, 1000};
  std::vector<double> gaps, variances;
  for (const double t : steps) {
    const Quality q = quality(static_cast<int64_t>(t), variance, 3000);
    gaps.push_back(q.gap);
    variances.push_back(q.variance);
  }
  return {log_slope(steps, gaps), log_slope(steps, variances)};
}

}  // namespace

TEST_CASE("with the large variance gap and variance of the weights fall as 1/T") {
  const Slopes got = slopes(Variance::large);
  CHECK(is_near(got.gap, -1, 0.1));
  CHECK(is_near(got.variance, -1, 0.1));
}

TEST_CASE("with the true variance the weights' variance falls as 1/T^1.9") {
  const Slopes got = slopes(Variance::learned);
  CHECK(is_near(got.variance, -1.9, 0.2));
  const Quality fine = quality(1000, Variance::learned, 400);
  CHECK(is_near(fine.variance, 3e-5, 5e-6));  // 3.0e-5 was measured on another mixture
  CHECK(std::abs(fine.gap) < 3e-4);
}

TEST_CASE("with the small variance the weights' variance does not vanish") {
  const Quality few = quality(100, Variance::small, 400),
                many = quality(1000, Variance::small, 400);
  CHECK(many.variance > 0.3 * few.variance);
  CHECK(many.variance > 100 * quality(1000, Variance::large, 400).variance);
  CHECK(many.gap > 0.2);
}
