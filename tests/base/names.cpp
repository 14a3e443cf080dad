#include <doctest/doctest.h>

#include "tweedie/base/fields.h"

using namespace tweedie;

namespace {
const std::vector<std::string> known{"ddim", "ddpm", "heun", "cosine-continuous"};
}

TEST_CASE("a typing error finds the name that was meant") {
  CHECK(nearest_name("ddmi", known) == "ddim");
  CHECK(nearest_name("hune", known) == "heun");
  CHECK(nearest_name("cosine-continous", known) == "cosine-continuous");
  CHECK(nearest_name("ddpm", known) == "ddpm");
}

TEST_CASE("two letters exchanged are one error, nearer than two others") {
  CHECK(nearest_name("--sede", {"--set", "--seed", "--steps"}) == "--seed");
  CHECK(nearest_name("ab", {"ba", "cd"}) == "ba");
}

TEST_CASE("a name that is like none finds nothing") {
  CHECK(nearest_name("euler-maruyama", known).empty());
  CHECK(nearest_name("x", {}).empty());
}

TEST_CASE("a suggestion names the nearest, or else everything that is known") {
  CHECK(suggestion("ddmi", known) == " (did you mean 'ddim'?)");
  CHECK(suggestion("euler-maruyama", known) == "; known: ddim, ddpm, heun, cosine-continuous");
}
