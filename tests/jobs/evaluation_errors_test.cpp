// What is uncertain about a result, and what is missing from it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/jobs/normal_model.h"
#include "tests/refusal.h"
#include "tweedie/jobs/evaluate.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

EvaluateRequest once_by(const std::string& divergence) {
  EvaluateRequest request;
  request.divergence = divergence;
  request.numerical_error = false;
  return request;
}

/// A request whose budget is too small for some of the data's examples and not for others.
EvaluateRequest with_half_a_budget(const Model& model, const Dataset& data,
                                   EvaluateRequest request) {
  const Tensor evaluations = evaluate_ode(model, data, request).table.column("evaluations");
  request.max_evaluations = static_cast<int64_t>(evaluations.median().item<double>());
  REQUIRE(evaluations.max().item<double>() > static_cast<double>(request.max_evaluations));
  return request;
}

Json parsed(const Json& json) { return Json::parse(json.dump()); }

std::string without_time(Json json) {
  json.erase("seconds");
  return json.dump();
}

Json nats_errors(const Evaluation& evaluation) {
  return to_json(evaluation).at("nats_standard_error_by_source");
}

}  // namespace

TEST_CASE("an example over its budget of evaluations is named and left out, the others count") {
  const Dataset data = normal_data(40, 2);
  const Model model = exact_model(data, edm(0.002, 80));
  const Evaluation full = evaluate_ode(model, data, once_by("exact"));
  const EvaluateRequest request = with_half_a_budget(model, data, once_by("exact"));
  const Evaluation got = evaluate_ode(model, data, request);
  const Tensor all = full.table.column("nats"), nats = got.table.column("nats"),
               over = full.table.column("evaluations") > request.max_evaluations;
  const int64_t missing = over.sum().item<int64_t>();
  CHECK(got.unfinished == missing);
  CHECK(got.examples == 40 - missing);
  CHECK(at::equal(nats.isnan(), over));
  CHECK(at::equal(nats.masked_select(~over), all.masked_select(~over)));
  CHECK(at::equal(error_of_examples(got.table).isnan(), over));
  const Mean mean = mean_of(all.masked_select(~over));
  CHECK(got.nats == mean.value);
  CHECK(got.nats_error == mean.error);

  const Json json = to_json(got);
  CHECK(json.at("partial") == true);
  CHECK(json.at("unfinished") == missing);
  CHECK(json.at("images") == 40 - missing);
  CHECK(json.at("nats_standard_error_by_source").at("probe") == 0);
  std::vector<int64_t> places;
  for (const Json& example : json.at("unfinished_examples")) {
    places.push_back(example.at("index"));
    CHECK(example.at("stopped_at_t").get<double>() > 0.002);
    CHECK(example.at("stopped_at_t").get<double>() < 80);
  }
  CHECK(at::equal(at::tensor(places, at::kLong), over.nonzero().flatten()));
  CHECK(says(lines_of(got)[0], "partial: of " + std::to_string(40 - missing) + " of 40 examples"));
  const std::string warning = warning_of(got);
  CHECK(says(warning, std::to_string(missing) + " of 40 examples did not reach the end"));
  CHECK(says(warning, "biased towards easy examples"));
  CHECK(says(warning, "--max-evaluations or --tolerance"));

  CHECK(to_json(full).at("partial") == false);
  CHECK(to_json(full).at("unfinished_examples").empty());
  CHECK(warning_of(full).empty());
}

TEST_CASE("unfinished examples merge too, even from a shard that has no others") {
  const Dataset data = normal_data(12, 2);
  const Model model = exact_model(data, edm(0.002, 80));
  EvaluateRequest request = with_half_a_budget(model, data, once_by("exact"));
  request.batch = 1;
  const Json whole = parsed(to_json(evaluate_ode(model, data, request)));
  CHECK(whole.at("unfinished") > 0);
  std::vector<Json> parts;
  std::vector<std::string> names;
  int64_t without_result = 0;
  for (request.shards = 12; request.shard <= 12; ++request.shard) {
    const Evaluation part = evaluate_ode(model, data, request);
    parts.push_back(parsed(shard_json(part)));
    names.push_back(std::to_string(request.shard));
    if (part.examples > 0) continue;
    ++without_result;
    CHECK(parts.back().at("value").is_null());
    CHECK(says(warning_of(part), "this shard has no result of its own"));
    CHECK(lines_of(part).empty());
  }
  CHECK(without_result == whole.at("unfinished"));
  const Evaluation merged = merge_evaluations(parts, names);
  CHECK(without_time(parsed(to_json(merged))) == without_time(whole));
  CHECK(merged.table.column("nats").isnan().sum().item<int64_t>() == whole.at("unfinished"));
}

TEST_CASE("an example is unfinished if one of its draws is") {
  const Dataset data = normal_data(20, 2, 17);
  const Model model = exact_model(data, edm(0.002, 80));
  EvaluateRequest request = with_half_a_budget(model, data, once_by("exact"));
  const int64_t of_one_draw = evaluate_ode(model, data, request).unfinished;
  request.draws = 3;
  const Evaluation got = evaluate_ode(model, data, request);
  CHECK(got.unfinished > of_one_draw);
  CHECK(got.unfinished < 20);
  CHECK(got.unfinished == got.table.column("nats").isnan().sum().item<int64_t>());
  CHECK(nats_errors(got).at("dequantisation").get<double>() > 0);
}

TEST_CASE("one probe for each of several draws makes a joint error, of both") {
  const Dataset data = normal_data(30, 4, 16);
  const Model model = exact_model(data, edm(0.002, 80));
  EvaluateRequest request = once_by("gaussian");
  request.draws = 20;
  const Evaluation together = evaluate_ode(model, data, request);
  const Json joint = nats_errors(together);
  CHECK(joint.at("probe").is_null());
  CHECK(joint.at("dequantisation").is_null());
  request.probes = 6;
  const Json apart = nats_errors(evaluate_ode(model, data, request));
  CHECK(apart.at("probe_and_dequantisation").is_null());
  const double probe = apart.at("probe"), draw = apart.at("dequantisation"),
               both = joint.at("probe_and_dequantisation"), data_part = joint.at("data"),
               total = joint.at("total");
  // A probe alone has six times the variance; 30 variances of 20 draws are known to 6%.
  CHECK(std::abs(both * both / (6 * probe * probe + draw * draw) - 1) < 0.25);
  CHECK(std::abs(data_part * data_part - std::max(0.0, total * total - both * both)) <= 1e-12);
  CHECK(error_of_examples(together.table).isfinite().all().item<bool>());
}

TEST_CASE("an example's own error is unknown where its dequantisation is drawn once") {
  const Dataset data = normal_data(5, 2, 16);
  EvaluateRequest request = once_by("gaussian");
  request.probes = 3;
  const Evaluation got = evaluate_ode(exact_model(data, edm(0.002, 80)), data, request);
  CHECK(nats_errors(got).at("probe").get<double>() > 0);
  CHECK(nats_errors(got).at("dequantisation").is_null());
  CHECK(error_of_examples(got.table).isnan().all().item<bool>());
}

TEST_CASE("draws of the bound's noise are averaged, the first is that of one, their error known") {
  const Dataset data = normal_data(40, 2);
  const Model model = exact_model(data, cosine_chain(20));
  for (const int64_t terms : {0, 3}) {
    CAPTURE(terms);
    EvaluateRequest request;
    request.terms = terms;
    const Evaluation by_default = evaluate_vlb(model, data, request);
    const Tensor first = by_default.table.column("nats");
    CHECK(nats_errors(by_default).at("path").is_null());
    CHECK(to_json(by_default).at("paths") == 1);
    request.paths = 2;
    const Evaluation two = evaluate_vlb(model, data, request);
    const Tensor second = 2 * two.table.column("nats") - first;
    CHECK((second - first).abs().min().item<double>() > 1e-6);  // another draw for each example
    // The variance of two values' mean is a quarter of their squared difference.
    CHECK(at::allclose(two.table.column("path_variance"), (second - first).square() / 4, 1e-6, 0));
    CHECK(to_json(two).at("evaluations") == 2 * to_json(by_default).at("evaluations").get<int>());

    request.paths = 50;
    const Evaluation many = evaluate_vlb(model, data, request);
    const Tensor off = first - many.table.column("nats");
    const double scatter = off.square().sum().item<double>(),
                 said = 51 * many.table.column("path_variance").sum().item<double>();
    CHECK(std::abs(scatter / said - 1) < 0.7);  // three standard errors of a variance of 40
    const Json errors = nats_errors(many);
    const double path = errors.at("path"), rest = errors.at("data"), total = errors.at("total");
    CHECK(std::abs(path - error_of_examples(many.table).square().sum().sqrt().item<double>() /
                              40) <= 1e-12);
    CHECK(std::abs(rest * rest + path * path - total * total) <= 1e-12);
  }
}

TEST_CASE("too many draws or dimensions are refused by the name of their option") {
  const Dataset data = normal_data(2, 100);
  const Model model = exact_model(data, edm(0.002, 80));
  const std::string exact = refusal([&] { evaluate_ode(model, data, once_by("exact")); });
  CHECK(says(exact, "--method exact of 100 dimensions"));
  CHECK(says(exact, "--exact-limit allows 64"));
  CHECK(says(exact, "pass --method ode"));
  CHECK(says(exact, "--exact-limit 100"));
  EvaluateRequest raised = once_by("exact");
  raised.exact_limit = 100;
  raised.limit = 1;
  CHECK(refusal([&] { evaluate_ode(model, data, raised); }).empty());
  EvaluateRequest paths;
  paths.paths = int64_t{1} << 20;
  for (const auto& evaluate : {evaluate_vlb, evaluate_ais})
    CHECK(says(refusal([&] { evaluate(model, data, paths); }), "--paths 1048576 are too many"));
}
