#include "tweedie/process/named.h"

#include <doctest/doctest.h>

#include "tests/process/support.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

template <class T>
T make(const std::vector<Named<T>>& rows, const std::string& name, const Json& options) {
  for (const Named<T>& row : rows)
    if (row.name == name) return row.make(options);
  throw Error("no row named " + name);
}

Schedule schedule(const std::string& name, const Json& options = Json::object()) {
  return make(named_schedules(), name, options);
}

template <class T>
std::vector<std::string> names(const std::vector<Named<T>>& rows) {
  std::vector<std::string> out;
  for (const Named<T>& row : rows) out.push_back(row.name);
  return out;
}

}  // namespace

TEST_CASE("the tables name what the documentation names") {
  CHECK(names(named_schedules()) ==
        std::vector<std::string>{"linear", "scaled-linear", "cosine", "betas", "sigmoid",
                                 "sohl-dickstein", "vp", "sub-vp", "ve", "edm", "cosine-continuous",
                                 "flow", "log-snr-linear", "learned"});
  CHECK(names(named_parameterisations()) == std::vector<std::string>{"eps", "x0", "v", "velocity",
                                                                     "score", "edm", "ve",
                                                                     "ve-score", "vp", "iddpm"});
  CHECK(names(named_objectives()) == std::vector<std::string>{"simple", "unweighted", "vlb",
                                                              "likelihood", "bound", "hybrid",
                                                              "mixed", "min-snr", "edm"});
}

TEST_CASE("every schedule is made without options, carries its name and has no warning") {
  for (const Named<Schedule>& row : named_schedules()) {
    const Schedule made = row.make(Json::object());
    CHECK(made.name == row.name);
    CHECK_FALSE(row.summary.empty());
    CAPTURE(row.name);
    // These two end where their papers end, and say so.
    if (row.name != "sohl-dickstein" && row.name != "scaled-linear") CHECK(made.warnings.empty());
  }
}

TEST_CASE("what the network is told can be scaled, as improved-diffusion does") {
  const NoiseLabel step = [](const Level& level) { return 4000 * level.sigma; };
  for (const Named<MakeParameterisation>& row : named_parameterisations()) {
    if (row.name != "eps" && row.name != "v" && row.name != "x0") continue;
    CHECK(row.make({{"label_scale", 0.25}})(step)({0.5, 0.5, 0.5, 0, 0}).c_noise == 500);
    CHECK(row.make(Json::object())(step)({0.5, 0.5, 0.5, 0, 0}).c_noise == 2000);
    CHECK_THROWS_AS(row.make({{"label_scale", 0}}), Error);
  }
}

TEST_CASE("every objective that fits a schedule has finite positive weights there") {
  for (const char* of : {"linear", "cosine", "vp", "log-snr-linear"})
    for (const Named<MakeObjective>& row : named_objectives()) {
      const Schedule on = schedule(of);
      if (row.name == "edm" && on.steps > 0) continue;
      if ((row.name == "bound" || row.name == "hybrid") && on.steps == 0) continue;
      const Objective objective = row.make(Json::object())(on);
      CHECK(objective.name == row.name);
      for (const double u : {0.0, 0.001, 0.5, 0.999}) {
        const double weight = objective.weight(objective.draw(u));
        CAPTURE(row.name);
        CHECK(weight > 0);
        CHECK(std::isfinite(weight));
      }
    }
}

TEST_CASE("options reach the schedule") {
  CHECK(schedule("linear", {{"steps", 20}}).steps == 20);
  const Schedule chain =
      schedule("linear", {{"steps", 2}, {"beta_start", 0.5}, {"beta_end", 0.75}});
  CHECK(chain.at(1).alpha == doctest::Approx(std::sqrt(0.125)).epsilon(1e-15));
  CHECK(schedule("cosine", {{"zero_terminal_snr", true}}).at(1).alpha == 0);
  CHECK(schedule("ve", {{"sigma_max", 7}}).prior_std == 7);
  CHECK(schedule("log-snr-linear", {{"gamma_min", -4}}).at(0).alpha ==
        doctest::Approx(std::sqrt(1 / (1 + std::exp(-4.0)))).epsilon(1e-15));
}

TEST_CASE("a chain without ends takes the published ones, rescaled to its length") {
  for (const int64_t steps : {1, 10, 20, 50, 1000, 4000})
    CHECK(alpha_bar_at_end(schedule("linear", {{"steps", steps}})) ==
          alpha_bar_at_end(linear_chain(steps)));
  CHECK(schedule("scaled-linear").at(0.001).sigma ==
        doctest::Approx(std::sqrt(0.00085)).epsilon(1e-12));
}

TEST_CASE("options that do not exist or cannot be are refused, with a way out") {
  CHECK_THROWS_WITH_AS(schedule("linear", {{"step", 10}}),
                       doctest::Contains("did you mean 'steps'"), Error);
  CHECK_THROWS_WITH_AS(schedule("linear", {{"steps", "ten"}}), doctest::Contains("a whole number"),
                       Error);
  CHECK_THROWS_WITH_AS(schedule("cosine", {{"steps", 0}}), doctest::Contains("got 0"), Error);
  CHECK_THROWS_WITH_AS(schedule("linear", {{"steps", -3}}), doctest::Contains("got -3"), Error);
  CHECK_THROWS_WITH_AS(schedule("linear", {{"beta_end", 1.5}}), doctest::Contains("1.5"), Error);
  CHECK_THROWS_WITH_AS(schedule("linear", {{"beta_start", 0.5}, {"beta_end", 0.1}}),
                       doctest::Contains("beta_start <= beta_end"), Error);
  CHECK_THROWS_AS(schedule("linear", Json(3)), Error);
}

TEST_CASE("the options' help names every option with its default") {
  for (const Named<Schedule>& row : named_schedules())
    if (row.name == "vp") {
      CHECK(row.options.find("beta_max = 20") != std::string::npos);
      CHECK(row.options.find("t_min = 1e-05") != std::string::npos);
    }
}
