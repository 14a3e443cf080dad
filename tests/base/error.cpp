#include "tweedie/base/error.h"

#include <doctest/doctest.h>

using namespace tweedie;

TEST_CASE("check says all its parts, in order") {
  CHECK_THROWS_WITH_AS(fail("steps: got ", 7, ", expected ", 1.5, " or ", 'x'),
                       "steps: got 7, expected 1.5 or x", Error);
}

TEST_CASE("check of what holds does nothing") { CHECK_NOTHROW(check(true, "never said")); }

TEST_CASE("Error is a runtime_error, so that a program can catch it with the others") {
  CHECK_THROWS_AS(fail("reason"), std::runtime_error);
}
