// Comparisons of samplers: on a model that is right about its data, and of figures made by hand.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/refusal.h"
#include "tweedie/jobs/comparison_report.h"
#include "tweedie/nets/mlp.h"
#include "tweedie/tensor/levels.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// Of data N(0.1, 0.2^2) in each dimension.
Model right_model(const Schedule& schedule) {
  constexpr double mean = 0.1, var = 0.04;
  Model model;
  model.data = {{2}, 0, {}};
  model.network = make_mlp({{"sample_shape", {2}}});  // only its device is asked for
  model.schedule = schedule;
  model.denoiser = [=](const Tensor& x_t, Levels levels, const Condition&) {
    const Tensor alpha = per_example(
        levels, [](const Level& l) { return l.alpha; }, x_t);
    const Tensor gain = per_example(
        levels,
        [=](const Level& l) {
          return l.alpha * var / (l.alpha * l.alpha * var + l.sigma * l.sigma);
        },
        x_t);
    return Prediction{mean + gain * (x_t - alpha * mean), {}};
  };
  return model;
}

const SolverCurve& curve_of(const SamplerComparison& comparison, const std::string& name) {
  for (const SolverCurve& curve : comparison.curves)
    if (curve.sampler == name) return curve;
  FAIL("no curve of " << name);
  throw Error("unreachable");
}

/// The floor is 0.01; unipc goes below it, heun comes near it with fewer evaluations.
SamplerComparison made_by_hand() {
  SamplerComparison out;
  out.reference = {.sampler = "dpm++3m", .path = "log-snr", .points = {{400, 400, 400, 0.01}}};
  out.middle_budget = 20;
  out.distribution_floor = 0.3;
  out.curves = {
      {.sampler = "unipc",
       .path = "log-snr",
       .points = {{10, 10, 10, 0.2, 0.03}, {20, 20, 20, 0.005, 0.001}, {40, 40, 40, 0.004}}},
      {.sampler = "heun",
       .path = "karras",
       .options = {{"churn", 0.5}},
       .points = {{20, 10, 19, 0.0105}}},
      {.sampler = "dpm-3",
       .path = "log-snr",
       .points = {{20, 7, 19, 0.02}},
       .missing = {{5, "too few"}, {10, "too few"}, {40, "the chain is short"}}},
      {.sampler = "ddpm",
       .path = "auto",
       .stochastic = true,
       .points = {{20, 20, 20, 0.001, std::nan("")}}}};
  return out;
}

}  // namespace

TEST_CASE("errors on an exact model fall by the order of each solver, and rank them") {
  const Model model = right_model(edm(0.01, 10));
  CompareSamplersRequest request{.samplers = {"ddim", "heun", "dpm++2m"},
                                 .evaluations = {40, 80, 1},
                                 .reference_evaluations = 1000,
                                 .path = "karras",
                                 .count = 8};
  const SamplerComparison found = compare_samplers(model, builtin(), request);
  CHECK(found.middle_budget == 40);
  const auto ratio = [&](const std::string& name) {
    const SolverCurve& curve = curve_of(found, name);
    REQUIRE(curve.points.size() == 3);
    CHECK(curve.missing.empty());
    for (const SolverPoint& point : curve.points) CHECK(point.standard_error > 0);
    return curve.points[1].error / curve.points[2].error;
  };
  // Half the step size: 2^order, and a quarter more or less for what is left of higher orders.
  CHECK(ratio("ddim") == doctest::Approx(2).epsilon(0.25));
  CHECK(ratio("heun") == doctest::Approx(4).epsilon(0.25));
  CHECK(ratio("dpm++2m") == doctest::Approx(4).epsilon(0.25));
  CHECK(found.curves.back().sampler == "ddim");
  CHECK(found.reference.points[0].error < 1e-2 * curve_of(found, "heun").points[2].error);
  CHECK_FALSE(found.distribution_floor.has_value());
}

TEST_CASE("what cannot be run is said budget by budget, and errors that are not known are null") {
  const Model model = right_model(cosine_chain(20));
  CompareSamplersRequest request{.samplers = {"predictor-corrector", "ddim", "dpm-adaptive"},
                                 .evaluations = {1, 10, 30},
                                 .reference_evaluations = 400,
                                 .count = 2};
  const SamplerComparison found = compare_samplers(model, builtin(), request);
  const SolverCurve &corrector = curve_of(found, "predictor-corrector"),
                    &ddim = curve_of(found, "ddim");
  REQUIRE(corrector.missing.size() == 1);
  CHECK(corrector.missing[0].budget == 1);
  CHECK(says(corrector.missing[0].because, "a single step takes 2"));
  REQUIRE(ddim.missing.size() == 1);
  CHECK(ddim.missing[0].budget == 30);
  CHECK(says(ddim.missing[0].because, "only 20 steps"));
  CHECK(curve_of(found, "dpm-adaptive").missing.size() == 3);
  CHECK(std::isnan(corrector.points[0].standard_error));  // a distance of sets
  CHECK(ddim.points[0].standard_error > 0);
  request.samplers = {"ddim"};
  request.count = 1;
  const Json one = comparison_json(compare_samplers(model, builtin(), request));
  CHECK(Json::parse(one.dump())["samplers"][0]["points"][0]["error_standard_error"].is_null());
}

TEST_CASE("impossible comparisons are refused, not begun") {
  const Model model = right_model(edm(0.01, 10));
  const auto refuse = [&](const CompareSamplersRequest& request, const std::string& fault) {
    const std::string message = refusal([&] { compare_samplers(model, builtin(), request); });
    CAPTURE(message);
    CHECK(says(message, fault));
  };
  refuse({.count = 0}, "--count: expected 1 or more");
  refuse({.batch = 0}, "--batch: expected 1 or more");
  refuse({.reference_evaluations = int64_t{1} << 60}, "1000000 or fewer");
  refuse({.evaluations = {}}, "at least one number");
  refuse({.reference_evaluations = 100}, "pass 160 or more");
}

TEST_CASE(
    "the recommendation is the cheapest run near the best, and errors below the floor are it") {
  const SamplerComparison comparison = made_by_hand();
  const auto near = recommended(comparison);
  REQUIRE(near.has_value());
  CHECK(near->curve->sampler == "heun");  // 0.0105 is within 1.1 times the floor
  CHECK(near->point.evaluations == 19);
  CHECK(near->best == 0.01);
  const auto best = recommended(comparison, 1);
  REQUIRE(best.has_value());
  CHECK(best->curve->sampler == "unipc");
  CHECK(best->point.evaluations == 20);  // 40 are no better: both are at the floor
  SamplerComparison stochastic = comparison;
  stochastic.curves = {comparison.curves.back()};
  CHECK_FALSE(recommended(stochastic).has_value());
  CHECK(says(recommendation_words(stochastic), "No deterministic sampler was run"));
}

TEST_CASE("the table shows no error below the floor, and says what was not run and why") {
  const std::string table = comparison_table(made_by_hand());
  CAPTURE(table);
  CHECK(says(table, "<0.01"));
  CHECK_FALSE(says(table, "0.005"));
  CHECK(says(table, "0.001"));  // a stochastic one may be nearer by chance
  CHECK(says(table, "an exact sampler would have about 0.3"));
  CHECK(says(table,
             "dpm-3 was not run with 5, 10 evaluations: too few; with 40: the chain is short"));
  const std::string words = recommendation_words(made_by_hand());
  CAPTURE(words);
  CHECK(
      words.starts_with("--sampler heun --steps 10 --path karras --set churn=0.5: 19 evaluations"));
  CHECK(says(words, "Best with 20 evaluations: --sampler unipc --steps 20"));
  CHECK(says(words, "error 0.01."));
}

TEST_CASE("the numbers of a comparison are all there, unknown ones as null") {
  const Json json = Json::parse(comparison_json(made_by_hand()).dump());
  CHECK(json["reference"]["floor"] == 0.01);
  CHECK(json["samplers"][0]["points"][1]["error"] == 0.005);
  CHECK(json["samplers"][0]["points"][1]["error_standard_error"] == 0.001);
  CHECK(json["samplers"][3]["points"][0]["error_standard_error"].is_null());
  CHECK(json["samplers"][2]["points_missing"][2] ==
        Json{{"budget", 40}, {"because", "the chain is short"}});
  CHECK_FALSE(json["samplers"][0].contains("points_missing"));
  CHECK(json["recommendation"]["sampler"] == "heun");
}
