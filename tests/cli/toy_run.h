// What the tests of the program share: a toy that trains in a second, and its answers as JSON.
#pragma once

#include <doctest/doctest.h>

#include "tests/cli/run_program.h"
#include "tweedie/base/json.h"

namespace tweedie::test {

/// One run that the tests share: trained once.
inline const std::string& toy_run() {
  static const TemporaryFolder folder;
  static const std::string run = [] {
    const std::string path = folder / "run";
    const Outcome outcome =
        run_program({"train", "--data", "toy:two-moons", "--recipe", "toy-2d", "--steps", "60",
                     "--set", "watch.log_every=10", "--out", path});
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
    return path;
  }();
  return run;
}

inline Json json_of(const Outcome& outcome) {
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  const Json value = Json::parse(outcome.out, nullptr, false);  // nothing but the object
  REQUIRE(value.is_object());
  return value;
}

}  // namespace tweedie::test
