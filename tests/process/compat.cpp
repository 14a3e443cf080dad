#include "tweedie/process/compat.h"

#include <doctest/doctest.h>

#include "tests/process/support.h"
#include "tweedie/base/error.h"
#include "tweedie/process/path.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

std::vector<double> trailing(int64_t length, int64_t steps) {
  return diffusers_timesteps(length, steps, {.spacing = DiffusersSpacing::trailing});
}

}  // namespace

TEST_CASE("diffusers' leading grid is ours, counted from 0") {
  for (const int64_t steps : {1, 7, 50, 501, 1000}) {
    const std::vector<int64_t> ours = leading_steps(1000, steps);
    const std::vector<double> theirs = diffusers_timesteps(1000, steps, {.offset = 1});
    CHECK(std::equal(ours.begin(), ours.end(), theirs.begin(), theirs.end()));
  }
}

TEST_CASE("diffusers' trailing grid has a step too many for 62 of 1000 step counts, ours never") {
  int64_t too_many = 0;
  for (int64_t steps = 1; steps <= 1000; ++steps) {
    const std::vector<double> theirs = trailing(1000, steps);
    if (static_cast<int64_t>(theirs.size()) == steps) continue;
    ++too_many;
    CHECK(theirs.back() == -1);
    CHECK(static_cast<int64_t>(trailing_steps(1000, steps).size()) == steps);
  }
  CHECK(too_many == 62);
}

TEST_CASE("diffusers' linspace grid follows halves to the even step and may keep them") {
  const DiffusersSteps whole{.spacing = DiffusersSpacing::linspace},
      fractional{.spacing = DiffusersSpacing::linspace, .fractional = true},
      dropped{.spacing = DiffusersSpacing::linspace, .drop_first = true};
  CHECK(diffusers_timesteps(1000, 7, whole) ==
        std::vector<double>{999, 832, 666, 500, 333, 166, 0});
  CHECK(diffusers_timesteps(1000, 7, fractional)[1] == 832.5);
  CHECK(diffusers_timesteps(1000, 6, dropped) == std::vector<double>{999, 832, 666, 500, 333, 166});
}

TEST_CASE("improved-diffusion's sections and strides, and what it refuses") {
  CHECK(improved_space_timesteps(1000, "3,1,2") ==
        std::vector<int64_t>{0, 166, 333, 334, 667, 999});
  const std::vector<int64_t> ddim = improved_space_timesteps(1000, "ddim7");
  CHECK(ddim.size() == 7);
  CHECK(ddim.back() == 858);
  for (const char* refused : {"ddim300", "1000,1", "", "1,", "ddim", "x", "-3"})
    CHECK_THROWS_AS(improved_space_timesteps(1000, refused), Error);
}

TEST_CASE("diffusers' exp and Laplace curves give betas between 0 and max_beta") {
  for (const double beta : diffusers_exp_betas(100))
    CHECK(relative_error(beta, -std::expm1(-0.12)) < 1e-13);
  for (const double beta : diffusers_laplace_betas(1000, 0.5)) {
    CHECK(beta > 0);
    CHECK(beta <= 0.5);
  }
}
