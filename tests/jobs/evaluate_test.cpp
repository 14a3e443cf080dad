// Evaluation of a model that is right about its data, N(0.1, 0.2^2) in each dimension.
#include "tweedie/jobs/evaluate.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <numeric>

#include "tests/jobs/normal_model.h"
#include "tests/refusal.h"
#include "tweedie/base/error.h"
#include "tweedie/jobs/evaluate_compat.h"
#include "tweedie/model/ode.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// -log N(x; mean, std^2 + sigma^2) of every example, what a flow ending at sigma finds.
Tensor exact_nats(const Dataset& data, double sigma) {
  const Tensor x = data.get(numbers(data.size)).x.to(at::kDouble);
  return sum_over_dims(0.5 * ((x - kMean).square() / (kStd * kStd + sigma * sigma) +
                              std::log(2 * std::numbers::pi * (kStd * kStd + sigma * sigma))));
}

EvaluateRequest by(const std::string& divergence) {
  EvaluateRequest request;
  request.divergence = divergence;
  return request;
}

Json without_seconds(Json json) {
  json.erase("seconds");
  return json;
}

}  // namespace

TEST_CASE(
    "a uniform model needs exactly 8 bits for a dimension of 8 bits, in our scale or score_sde's") {
  const int64_t dims = 12;
  const double d = static_cast<double>(dims);
  const Tensor ours = at::full({1}, -d * std::log(2 * 256.0 / 255), at::kDouble);
  CHECK(std::abs(bits_per_dim(dequantised_nats(ours, dims, 256).item<double>(), dims) - 8) <=
        1e-14);
  CHECK(std::abs(bits_per_dim(d * std::log(2.0) + score_sde_offset(dims), dims) - 8) <= 1e-14);
  const Tensor ends = at::tensor({-1.0, 1.0}, at::kDouble);
  CHECK(score_sde_scaled(ends, at::zeros({2}, at::kDouble), 256)[0].item<double>() == -1);
  CHECK(score_sde_scaled(ends, at::ones({2}, at::kDouble), 256)[1].item<double>() == 1);
  CHECK_THROWS_AS(score_sde_scaled(ends, ends, 16), Error);
  CHECK_THROWS_AS(dequantised_nats(ours, dims, 1), Error);
}

TEST_CASE("the flow gives the log density of every example, and says what it is") {
  const Dataset data = normal_data(256, 3);
  const Model model = exact_model(data, edm(0.002, 80));
  const Evaluation result = evaluate_ode(model, data, by("exact"));
  // Without the prior's mismatch, 5e-3 for a point as far out as these, as 256 examples tell it.
  const Tensor nats = result.table.column("nats") - result.table.column("prior_mismatch");
  CHECK((nats - exact_nats(data, 0.002)).abs().max().item<double>() <= 2e-3);
  const Json json = to_json(result);
  CHECK(json.at("method") == "exact");
  CHECK(json.at("kind") == "estimate");
  CHECK(json.at("unit") == "nats/dim");
  CHECK(json.at("t_min") == 0.002);
  CHECK(json.at("nats_standard_error_by_source").at("probe") == 0);
  CHECK(json.at("nats_standard_error_by_source").at("data") == json.at("nats_standard_error"));
  CHECK(json.at("numerical_error_nats_most").get<double>() < 1e-2);
  CHECK(std::abs(json.at("prior_mismatch_nats").get<double>()) < 1e-3);
  CHECK_FALSE(json.contains("bits_per_dim"));
}

TEST_CASE("sources of error are told apart, and add up") {
  const Dataset data = normal_data(30, 4);
  const Model model = exact_model(data, edm(0.002, 80));
  EvaluateRequest request = by("gaussian");  // Rademacher probes are exact for this model
  request.probes = 6;
  const Json errors =
      to_json(evaluate_ode(model, data, request)).at("nats_standard_error_by_source");
  const double probe = errors.at("probe"), rest = errors.at("data"), total = errors.at("total");
  // Here the probes' error is nearly all of it, and each of the two estimates scatters by a
  // seventh.
  CHECK(std::abs(probe / total - 1) < 0.45);
  CHECK(std::abs(rest * rest - std::max(0.0, total * total - probe * probe)) <= 1e-12);
  CHECK(errors.at("dequantisation").is_null());
}

TEST_CASE("dequantised or decoded, the flow bounds the probability of a value from above") {
  const Dataset data = normal_data(60, 2, 17);
  const Model model = exact_model(data, edm(0.05, 80));
  const double half = 1.0 / 16, width = std::hypot(kStd, 0.05);
  const Tensor x = data.get(numbers(60)).x.to(at::kDouble);
  const Tensor exact = -sum_over_dims(
      (at::special_ndtr((x + half - kMean) / width) - at::special_ndtr((x - half - kMean) / width))
          .log());  // [60]
  EvaluateRequest request = by("exact");
  request.draws = 40;
  for (const char* decoder : {"", "discretised", "softmax"}) {
    CAPTURE(decoder);
    request.decoder = decoder;
    const Evaluation result = evaluate_ode(model, data, request);
    const double gap = result.nats - exact.mean().item<double>();
    CHECK(gap > 0);
    // The noise before a decoder is narrower than a bin, over which the model spreads.
    CHECK(gap < (request.decoder.empty() ? 0.05 : 0.15));
    const Json json = to_json(result);
    CHECK(json.at("kind") == "bound");
    CHECK(json.at("unit") == "bits/dim");
    CHECK(json.at("bits_per_dim_standard_error_by_source").at("dequantisation").get<double>() > 0);
  }
}

TEST_CASE("bound, importance bound and log density come in this order") {
  const Dataset data = normal_data(100, 2);
  const Model model = exact_model(data, cosine_chain(100));
  EvaluateRequest request = by("exact");
  request.variance = "large";
  request.paths = 16;
  const double bound = evaluate_vlb(model, data, request).nats,
               importance = evaluate_ais(model, data, request).nats,
               density = evaluate_ode(model, data, request).nats;
  CHECK(bound > importance);
  CHECK(importance > exact_nats(data, 0).mean().item<double>() - 0.01);
  CHECK(std::abs(density - importance) < 0.2);
}

TEST_CASE("importance sampling takes the large variance where none is learned, and gives advice") {
  const Dataset data = normal_data(20, 2);
  const Model model = exact_model(data, cosine_chain(50));
  const Json json = to_json(evaluate_ais(model, data, {}));
  CHECK(json.at("variance") == "large");
  CHECK(json.at("paths") == 8);
  CHECK(json.at("evaluations") == 400);
  CHECK(json.at("effective_paths").get<double>() > 4);
  CHECK(says(json.at("advice"), "Var(log w)"));
  CHECK(json.at("nats_of_one_path").get<double>() > json.at("nats").get<double>());
}

TEST_CASE("the analytic variance is measured, and makes the weights nearly equal") {
  const Dataset data = normal_data(200, 2);
  const Model model = exact_model(data, cosine_chain(100));
  EvaluateRequest request;
  request.limit = 40;
  const double large = to_json(evaluate_ais(model, data, request)).at("log_weight_variance");
  request.variance = "analytic";
  CHECK(says(refusal([&] { evaluate_ais(model, data, request); }), "measured"));
  const Path path = bound_path(model.schedule, 100);
  request.x0_variance = measured_x0_variance(model, data, path, 200, 0);
  const Level& middle = path[50];
  const double snr = middle.alpha * middle.alpha / (middle.sigma * middle.sigma);
  CHECK(std::abs(request.x0_variance(middle) * (1 / (kStd * kStd) + snr) - 1) < 0.25);
  const double analytic = to_json(evaluate_ais(model, data, request)).at("log_weight_variance");
  CHECK(analytic < 0.5 * large);
}

TEST_CASE("shards merge to the numbers of the whole, to the last bit, whatever their order") {
  const Dataset data = normal_data(50, 2);
  const Model model = exact_model(data, cosine_chain(20));
  EvaluateRequest request = by("gaussian");
  request.batch = 7;
  request.limit = 45;
  request.paths = 3;
  request.probes = 3;
  for (const auto& evaluate : {evaluate_vlb, evaluate_ais, evaluate_ode}) {
    const Json whole = Json::parse(to_json(evaluate(model, data, request)).dump());
    std::vector<Json> parts;
    for (const int64_t shard : {3, 1, 2}) {
      EvaluateRequest part = request;
      part.shard = shard;
      part.shards = 3;
      parts.push_back(Json::parse(shard_json(evaluate(model, data, part)).dump()));
    }
    const std::vector<std::string> names = {"c", "a", "b"};
    Json merged = Json::parse(to_json(merge_evaluations(parts, names)).dump());
    if (whole.contains("per_level_nats")) {  // sums in another order
      for (size_t i = 0; i < whole.at("per_level_nats").size(); ++i)
        if (!whole.at("per_level_nats")[i].is_null() && whole.at("per_level_nats")[i] != 0)
          CHECK(std::abs(merged.at("per_level_nats")[i].get<double>() /
                             whole.at("per_level_nats")[i].get<double>() -
                         1) <= 1e-12);
      merged["per_level_nats"] = whole.at("per_level_nats");
    }
    CHECK(without_seconds(merged).dump() == without_seconds(whole).dump());

    CHECK(says(refusal([&] {
                 merge_evaluations({parts[0], parts[2]}, {"c", "b"});
               }),
               "shard 1 of 3 is missing"));
    CHECK(says(refusal([&] {
                 merge_evaluations({parts[0], parts[1], parts[2], parts[1]}, {"c", "a", "b", "a"});
               }),
               "more than one part"));
    CHECK(says(refusal([&] { merge_evaluations({whole}, {"whole"}); }), "--shard"));
  }
}

TEST_CASE("parts of different evaluations do not merge") {
  const Dataset data = normal_data(20, 2);
  const Model model = exact_model(data, cosine_chain(20));
  EvaluateRequest request;
  request.batch = 5;
  request.shards = 2;
  const Json first = shard_json(evaluate_vlb(model, data, request));
  request.shard = 2;
  request.seed = 1;
  const Json second = shard_json(evaluate_vlb(model, data, request));
  CHECK(says(refusal([&] {
               merge_evaluations({first, second}, {"a", "b"});
             }),
             "b: is part of another evaluation than a: its 'seed' is 1, not 0"));
  // Shards of other batches would leave examples out between them.
  request.seed = 0;
  request.batch = 8;
  const Json other = shard_json(evaluate_vlb(model, data, request));
  CHECK(says(refusal([&] {
               merge_evaluations({first, other}, {"a", "b"});
             }),
             "its 'batch' is 8, not 5"));
  // The same settings on data that has shrunk between the two.
  Json less = first;
  for (auto& [name, column] : less["merge"]["table"].items()) column.erase(0);
  request.batch = 5;
  const Json last = shard_json(evaluate_vlb(model, data, request));
  CHECK(says(refusal([&] {
               merge_evaluations({less, last}, {"a", "b"});
             }),
             "19 of the 20 examples"));
}

TEST_CASE("a model of classes pays log K by every method") {
  Dataset data = normal_data(10, 2);
  const Model plain = exact_model(data, cosine_chain(20));
  data.classes = {"a", "b", "c", "d"};
  Model classes = exact_model(data, cosine_chain(20));
  classes.config.data.conditional = true;
  for (const auto& evaluate : {evaluate_vlb, evaluate_ais, evaluate_ode})
    CHECK(std::abs(evaluate(classes, data, {}).nats - evaluate(plain, normal_data(10, 2), {}).nats -
                   std::log(4.0)) <= 1e-6);
}

TEST_CASE(
    "the 95% interval of the mean over examples covers the truth in 93 to 97% of 1000 tries") {
  const Tensor nats =
      3 + keyed_normal({2, Stream::data}, numbers(1000), 0, {60}).to(at::kDouble) * 2;
  int64_t covered = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    const Mean mean = mean_of(nats[i]);
    covered += std::abs(mean.value - 3) <= 1.96 * mean.error;
  }
  CHECK(covered >= 930);
  CHECK(covered <= 970);
}

TEST_CASE("what an evaluation cannot mean is refused with what to do instead") {
  const Dataset data = normal_data(8, 100), counted = normal_data(8, 2, 16);
  const Model model = exact_model(data, edm(0.002, 80)),
              quantised = exact_model(counted, edm(0.002, 80));
  EvaluateRequest bare;
  bare.dequantisation = "none";
  CHECK(says(refusal([&] { evaluate_ode(quantised, counted, bare); }), "--dequantisation uniform"));
  EvaluateRequest short_of;
  short_of.max_evaluations = 20;
  const std::string none = refusal([&] { evaluate_ode(model, data, short_of); });
  CHECK(says(none, "8 of 8 examples did not reach the end of the flow within 20 evaluations"));
  CHECK(says(none, "pass a larger --max-evaluations or --tolerance"));
  EvaluateRequest learned;
  learned.variance = "learned";
  CHECK(says(refusal([&] { evaluate_ais(model, data, learned); }), "no learned variance"));
  CHECK(says(refusal([&] { evaluate_ode(model, data, by("sphere")); }), "unknown kind"));
  EvaluateRequest decoder;
  decoder.decoder = "discretised";
  CHECK(says(refusal([&] { evaluate_ode(model, data, decoder); }), "continuous"));
  EvaluateRequest parts;
  parts.shard = 3;
  parts.shards = 2;
  CHECK(says(refusal([&] { evaluate_vlb(model, data, parts); }), "i from 1 to n"));
}
