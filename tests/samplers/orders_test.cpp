#include <doctest/doctest.h>

#include "tests/samplers/orders.h"

using namespace tweedie::testing;

TEST_CASE("every sampler converges with the order that theory gives it") {
  for (const OrderCase& one : order_cases()) {
    const MeasuredOrder result = measure(one);
    CAPTURE(one.name);
    CAPTURE(one.options);
    CAPTURE(result.slope);
    CHECK(std::abs(result.slope - one.order) <= one.tolerance);
    CHECK(std::abs(result.errors.back()) > 1e-11);  // far above the reference's own error
  }
}
