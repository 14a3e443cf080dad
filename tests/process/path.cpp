#include "tweedie/process/path.h"

#include <doctest/doctest.h>

#include "tests/process/support.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

bool falls_within(const std::vector<int64_t>& steps, int64_t length, int64_t count) {
  bool good =
      static_cast<int64_t>(steps.size()) == count && steps.front() <= length && steps.back() >= 1;
  for (size_t i = 1; i < steps.size(); ++i) good = good && steps[i] < steps[i - 1];
  return good;
}

bool log_snr_rises(const Path& path) {
  for (size_t i = 1; i < path.size(); ++i)
    if (!(log_snr(path[i]) > log_snr(path[i - 1]))) return false;
  return true;
}

}  // namespace

TEST_CASE("every grid has exactly N different steps, for every N in 1..T") {
  std::vector<int64_t> lengths{250, 999, 1000};
  for (int64_t length = 1; length <= 80; ++length) lengths.push_back(length);
  for (const int64_t length : lengths) {
    bool good = true;
    for (int64_t n = 1; n <= length; ++n) {
      const auto trailing = trailing_steps(length, n), leading = leading_steps(length, n),
                 linspace = linspace_steps(length, n);
      good = good && falls_within(trailing, length, n) && trailing.front() == length;
      good = good && falls_within(leading, length, n) && leading.back() == 1;
      good = good && falls_within(linspace, length, n) && linspace.front() == length &&
             (n == 1 || linspace.back() == 1);
    }
    CAPTURE(length);
    CHECK(good);
  }
}

TEST_CASE("grids of 10 of 1000 steps are those of table 2 of Lin et al. 2024") {
  // Their steps count from 0.
  CHECK(leading_steps(1000, 10) ==
        std::vector<int64_t>{901, 801, 701, 601, 501, 401, 301, 201, 101, 1});
  CHECK(trailing_steps(1000, 10) ==
        std::vector<int64_t>{1000, 900, 800, 700, 600, 500, 400, 300, 200, 100});
  CHECK(linspace_steps(1000, 10) ==
        std::vector<int64_t>{1000, 889, 778, 667, 556, 445, 334, 223, 112, 1});
}

TEST_CASE("a grid of all steps is the chain") {
  for (const int64_t length : {1, 2, 7, 1000}) {
    std::vector<int64_t> all;
    for (int64_t i = length; i >= 1; --i) all.push_back(i);
    CHECK(trailing_steps(length, length) == all);
    CHECK(leading_steps(length, length) == all);
    CHECK(linspace_steps(length, length) == all);
    CHECK(karras_steps(linear_chain(length), length) == all);
  }
}

TEST_CASE("Karras steps of a chain are N different ones, for every N") {
  for (const int64_t length : {1, 2, 3, 10, 100})
    for (const Schedule& chain : {linear_chain(length), cosine_chain(length)}) {
      bool good = true;
      for (int64_t n = 1; n <= length; ++n) {
        const std::vector<int64_t> steps = karras_steps(chain, n);
        good = good && falls_within(steps, length, n) && steps.front() == length &&
               (n == 1 || steps.back() == 1);
      }
      CAPTURE(length);
      CHECK(good);
    }
}

TEST_CASE("Karras steps of a long chain are the chain's steps nearest to Karras's levels") {
  const Schedule chain = linear_chain(1000);
  const Path wanted = karras_path(interpolated(chain), 12), got = karras_path(chain, 12);
  for (size_t i = 0; i < 12; ++i)
    CHECK(std::abs(got[i].t - wanted[i].t) <
          0.00051);  // half a step, and the interpolation's error
}

TEST_CASE("sampling paths make exactly N evaluations and end at clean data") {
  for (const int64_t n : {1, 2, 18, 61, 103, 121, 122, 201, 999, 1000})
    for (const Schedule& schedule : {linear_chain(), cosine_chain(), vp_linear(), edm(), ve()}) {
      const Path path = sampling_path(schedule, n);
      CAPTURE(schedule.name);
      CAPTURE(n);
      CHECK(static_cast<int64_t>(path.size()) == n + 1);
      CHECK(path.front().t == schedule.t_max);
      CHECK(path.back().sigma == 0);
      CHECK(log_snr_rises(path));
    }
}

TEST_CASE("a path of any name makes exactly N evaluations, and knows the levels in between") {
  for (const int64_t n : {1, 2, 7, 50, 999})
    for (const Schedule& schedule : {linear_chain(), vp_linear(), edm()})
      for (const std::string& name : path_names()) {
        const bool of_chains = name == "trailing" || name == "leading" || name.ends_with("+1") ||
                               (name == "linspace" && !schedule.even_in_t);
        if (name != "auto" && (schedule.steps > 0 ? name == "time" : of_chains)) {
          CHECK_THROWS_AS(named_path(name, schedule, n), Error);
          continue;
        }
        CAPTURE(schedule.name);
        CAPTURE(name);
        CAPTURE(n);
        const Path path = named_path(name, schedule, n);
        REQUIRE(static_cast<int64_t>(path.size()) == n + 1);
        CHECK(path.back().sigma == 0);
        CHECK(log_snr_rises(path));
        for (size_t i = 0; i + 1 < path.size(); ++i) {
          const Level on_curve = path.between(log_snr(path[i]));
          CHECK(on_curve.alpha == doctest::Approx(path[i].alpha).epsilon(1e-9));
          CHECK(on_curve.sigma == doctest::Approx(path[i].sigma).epsilon(1e-9));
        }
      }
  CHECK_THROWS_WITH_AS(named_path("karas", edm(), 5), doctest::Contains("did you mean 'karras'?"),
                       Error);
}

TEST_CASE(
    "grids of diffusers: one level more of which the cleanest is left out, and flow matching's") {
  const auto steps = [](const char* name) {
    const Schedule chain = linear_chain();
    const Path path = named_path(name, chain, 10);
    std::vector<int64_t> out;
    for (size_t i = 0; i + 1 < path.size(); ++i)
      out.push_back(std::llround(path[i].t * static_cast<double>(chain.steps)) - 1);
    return out;
  };
  // DPMSolverMultistepScheduler.set_timesteps(10) of diffusers 0.42.1, 1000 steps.
  CHECK(steps("linspace+1") ==
        std::vector<int64_t>{999, 899, 799, 699, 599, 500, 400, 300, 200, 100});
  CHECK(steps("leading+1") ==
        std::vector<int64_t>{900, 810, 720, 630, 540, 450, 360, 270, 180, 90});
  // FlowMatchEulerDiscreteScheduler.set_timesteps(4): sigma = t.
  const Path grid = named_path("linspace", flow(), 4);
  CHECK(grid[0].t == 1);
  CHECK(grid[1].t == doctest::Approx(0.667).epsilon(1e-12));
  CHECK(grid[2].t == doctest::Approx(0.334).epsilon(1e-12));
  CHECK(grid[3].t == doctest::Approx(0.001).epsilon(1e-12));
}

TEST_CASE("the path of a whole chain visits T..1 and clean data") {
  const Schedule chain = linear_chain(5);
  const Path path = chain_path(chain);
  REQUIRE(path.size() == 6);
  for (int64_t i = 0; i <= 5; ++i)
    CHECK(path[static_cast<size_t>(i)].alpha == step_of(chain, 5 - i).alpha);
}

TEST_CASE("the bound's path stops at the decoder's level, not at clean data") {
  const Path chain = bound_path(linear_chain(1000), 1000), process = bound_path(vp_linear(), 50);
  CHECK(chain.size() == 1000);
  CHECK(chain.back().t == 0.001);
  CHECK(process.size() == 51);
  CHECK(process.front().t == 1);
  CHECK(process.back().t == 1e-5);
  CHECK(log_snr_rises(chain));
  CHECK(log_snr_rises(process));
}

TEST_CASE("a log-SNR path is evenly spaced in log-SNR, from end to end") {
  for (const Schedule& schedule : {vp_linear(), sub_vp(), ve(), edm(), cosine(), log_snr_linear(),
                                   interpolated(linear_chain())}) {
    CAPTURE(schedule.name);
    const Path path = log_snr_path(schedule, 17);
    REQUIRE(path.size() == 17);
    CHECK(path.front().t == schedule.t_max);
    CHECK(path.back().t == schedule.t_min);
    const double step = (log_snr(path.back()) - log_snr(path.front())) / 16;
    for (size_t i = 1; i < path.size(); ++i)  // t is right to its last bit, log-SNR as its slope
      CHECK(log_snr(path[i]) - log_snr(path[i - 1]) == doctest::Approx(step).epsilon(1e-9));
  }
}

TEST_CASE("EDM's path is equation 5 of Karras et al. 2022, with the ends exact") {
  const Path path = karras_path(edm(0.002, 80), 18);
  REQUIRE(path.size() == 19);
  CHECK(path.front().sigma == 80);
  CHECK(path.back().sigma == 0);
  for (int i = 0; i < 18; ++i) {
    const double high = std::pow(80, 1 / 7.0), low = std::pow(0.002, 1 / 7.0);
    CHECK(path[static_cast<size_t>(i)].sigma ==
          doctest::Approx(std::pow(high + i / 17.0 * (low - high), 7)).epsilon(1e-12));
  }
}

TEST_CASE("the time of a log-SNR is found to the last bit, or is the nearer end") {
  for (const Schedule& schedule : continuous_schedules()) {
    const double t = schedule.t_min + 0.37 * (schedule.t_max - schedule.t_min);
    CHECK(time_of_log_snr(schedule, log_snr(schedule.at(t))) == doctest::Approx(t).epsilon(1e-12));
    CHECK(time_of_log_snr(schedule, 1e6) == doctest::Approx(schedule.t_min).epsilon(1e-12));
    CHECK(time_of_log_snr(schedule, -1e6) == doctest::Approx(schedule.t_max).epsilon(1e-12));
  }
}

TEST_CASE("impossible paths are refused, saying what to do") {
  const Schedule chain = linear_chain(10);
  CHECK_THROWS_WITH_AS(sampling_path(chain, 11), doctest::Contains("use at most 10"), Error);
  CHECK_THROWS_WITH_AS(sampling_path(vp_linear(), 0), doctest::Contains("got 0"), Error);
  CHECK_THROWS_WITH_AS(bound_path(vp_linear(), 0), doctest::Contains("got 0"), Error);
  for (const auto& grid : {leading_steps, trailing_steps, linspace_steps}) {
    CHECK_THROWS_AS(grid(10, 0), Error);
    CHECK_THROWS_AS(grid(10, 11), Error);
  }
  CHECK_THROWS_WITH_AS(path_through(chain, {5, 6}), doctest::Contains("got 6 after 5"), Error);
  CHECK_THROWS_WITH_AS(path_through(chain, {11}), doctest::Contains("not in 1..10"), Error);
  CHECK_THROWS_AS(path_through(chain, {}), Error);
  CHECK_THROWS_AS(path_through(vp_linear(), {1}), Error);
  CHECK_THROWS_WITH_AS(log_snr_path(chain, 5), doctest::Contains("interpolated(chain)"), Error);
  CHECK_THROWS_AS(log_snr_path(vp_linear(), 1), Error);
  CHECK_THROWS_WITH_AS(log_snr_path(flow(), 5), doctest::Contains("lower t_max"), Error);
  CHECK_THROWS_WITH_AS(karras_path(flow(), 5), doctest::Contains("pure noise"), Error);
  CHECK_THROWS_AS(karras_path(edm(), 5, 0), Error);
  CHECK_THROWS_AS(karras_path(chain, 11), Error);
  CHECK_THROWS_AS(time_of_log_snr(chain, 0), Error);
}
