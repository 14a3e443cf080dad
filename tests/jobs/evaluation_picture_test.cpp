// What the picture of an evaluation draws is what the evaluation found.
#include "tweedie/jobs/evaluation_picture.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/jobs/normal_model.h"
#include "tweedie/base/error.h"
#include "tweedie/jobs/solver_curve.h"
#include "tweedie/model/ais.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double per_dim(const Evaluation& e, double nats) {
  return std::isfinite(e.bits_per_dim) ? bits_per_dim(nats, e.dims)
                                       : nats / static_cast<double>(e.dims);
}

double diffusion_of(const Evaluation& e) {
  return per_dim(e, mean_of(e.table.column("diffusion")).value);
}

/// Heights times widths, of bars that are no gaps.
double area_of(const Series& bars) {
  double area = 0;
  for (size_t i = 0; i < bars.y.size(); ++i)
    if (std::isfinite(bars.y[i])) area += bars.y[i] * (bars.x[i + 1] - bars.x[i]);
  return area;
}

double sum_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values)
    if (std::isfinite(value)) sum += value;
  return sum;
}

/// An evaluation by ais with these log weights.
Evaluation weighed(const std::vector<std::vector<double>>& log_weights, double class_nats = 0) {
  Evaluation e;
  const int64_t paths = static_cast<int64_t>(log_weights.at(0).size());
  e.settings = {
      {"method", "ais"},          {"dims", 2},      {"in_bits", false}, {"kind", "bound"},
      {"class_nats", class_nats}, {"t_min", 0.001}, {"paths", paths},   {"variance", "large"},
      {"evaluations", 10 * paths}};
  e.table.add_rows(numbers(static_cast<int64_t>(log_weights.size())));
  for (int64_t k = 0; k < paths; ++k)
    for (const auto& row : log_weights)
      e.table.columns[log_weight_column(k)].push_back(row.at(static_cast<size_t>(k)));
  e.table.add("nats", class_nats - importance_bound(log_weights_of(e.table), paths));
  summarise(e);
  return e;
}

}  // namespace

TEST_CASE("bars of the levels add up to the diffusion term, whichever levels are drawn") {
  for (const int64_t levels : {0, 256}) {
    const Dataset data = normal_data(20, 2, levels);
    for (const Schedule& schedule : {linear_chain(100), vp_linear(), flow(1e-3, 0.99)})
      for (const int64_t terms : {0, 60, 7, 1}) {
        CAPTURE(schedule.name);
        CAPTURE(terms);
        EvaluateRequest request;
        request.path_steps = 100;
        request.terms = terms;
        const Evaluation e = evaluate_vlb(exact_model(data, schedule), data, request);
        const Series bars = level_chart(e).series.at(0);
        CHECK(bars.bars);
        CHECK(bars.x.size() == bars.y.size() + 1);
        CHECK(bars.y.size() <= 60);
        CHECK(sum_of(bars.y) == doctest::Approx(diffusion_of(e)).epsilon(1e-12));
        CHECK(area_of(log_snr_chart(e).series.at(0)) ==
              doctest::Approx(diffusion_of(e)).epsilon(1e-12));
      }
  }
}

TEST_CASE("a thousand levels are drawn in fifty bars, and the axis says of how many") {
  const Dataset data = normal_data(3, 2);
  const Evaluation e = evaluate_vlb(exact_model(data, linear_chain(1001)), data, {});
  const LineChart chart = level_chart(e);
  CHECK(chart.series.at(0).y.size() == 50);
  CHECK(chart.x_label.find("a bar sums 20 levels") != std::string::npos);
  CHECK(chart.x_names.front().second.substr(0, 2) == "1\n");
  CHECK(chart.x_names.back().first == 1000);
}

TEST_CASE("levels that nobody drew are a gap and no zero") {
  Evaluation e;
  e.settings = {{"dims", 1},
                {"per_level_t", {4, 3, 2, 1, 0.5}},
                {"per_level_log_snr", {nullptr, -1, 0, 1, 3}}};  // noise without signal: -infinity
  e.sums = {{"per_level_sums", {2.0, 0.0, 8.0, 6.0, 0.0}}, {"per_level_counts", {2, 0, 1, 1, 0}}};
  e.dims = 1;
  e.examples = 1;
  e.bits_per_dim = kNone;
  const Series bars = level_chart(e).series.at(0);
  CHECK(bars.x == std::vector<double>{0, 1, 2, 3, 4});
  CHECK(bars.y[0] == 2);
  CHECK(std::isnan(bars.y[1]));
  CHECK(bars.y[3] == 6);
  const Series of_log_snr = log_snr_chart(e).series.at(0);
  CHECK(of_log_snr.x == std::vector<double>{-1, 0, 1, 3});
  CHECK(of_log_snr.y[2] == 3);
  const LineChart chart = level_chart(e);
  CHECK(chart.x_names.front().second == "4\n-inf");
}

TEST_CASE("the bound of k paths is averaged over disjoint groups of the weights") {
  const double a = std::log(1), b = std::log(3), c = std::log(5), d = std::log(7),
               rest = std::log(100);
  const Tensor weights = at::tensor({a, b, c, d, rest}, at::kDouble).view({1, 5});
  const auto bound = [&](int64_t k) { return importance_bound(weights, k).item<double>(); };
  CHECK(bound(1) == doctest::Approx((a + b + c + d + rest) / 5).epsilon(1e-14));
  CHECK(bound(2) == doctest::Approx((std::log(2) + std::log(6)) / 2).epsilon(1e-14));
  CHECK(bound(3) == doctest::Approx(std::log(3)).epsilon(1e-14));
  CHECK(bound(5) == doctest::Approx(std::log(116.0 / 5)).epsilon(1e-14));
  CHECK_THROWS_WITH_AS(bound(6), doctest::Contains("from 1 to 5"), Error);
  CHECK_THROWS_AS(bound(0), Error);
}

TEST_CASE("the last point of the bound's curve is the value, and more paths are tighter") {
  const Dataset data = normal_data(12, 2, 16);
  EvaluateRequest request;
  request.paths = 6;
  for (const int64_t count : {0, 1}) {
    request.limit = count;
    const Evaluation e = evaluate_ais(exact_model(data, cosine_chain(20)), data, request);
    const Series line = bound_chart(e).series.at(0);
    CHECK(line.x == std::vector<double>{20, 40, 80, 120});
    CHECK(line.y.back() == doctest::Approx(e.bits_per_dim).epsilon(1e-12));
    CHECK(line.y.front() ==
          doctest::Approx(per_dim(e, to_json(e).at("nats_of_one_path"))).epsilon(1e-12));
    if (count == 1) {
      CHECK(std::isnan(line.error.back()));
      continue;
    }
    CHECK(line.error.back() == doctest::Approx(e.bits_per_dim_error).epsilon(1e-12));
    CHECK(line.y.front() > line.y.back());
  }
}

TEST_CASE("every path of every example is in the histogram of the weights, around its example") {
  const Evaluation e = weighed({{-100, -102, -104}, {5, 7, 6}}, std::log(10));
  const LineChart chart = weight_chart(e);
  const Series& bars = chart.series.at(0);
  CHECK(sum_of(bars.y) == 6);
  CHECK(bars.x.front() <= -2);
  CHECK(bars.x.back() >= 2);
  CHECK(chart.series.at(1).name == "normal, variance 1.67");  // (8 + 2) / 6
  CHECK(bound_chart(e).series.at(0).y.front() ==
        doctest::Approx((std::log(10) - (-102 + 6) / 2.0) / 2).epsilon(1e-14));
  CHECK(weight_chart(weighed({{-3}, {-4}})).series.empty());
}

TEST_CASE("a coarser tolerance costs less and changes more, as the picture says") {
  const Dataset data = normal_data(40, 2);
  const Model model = exact_model(data, vp_linear());
  EvaluateRequest request;
  request.divergence = "exact";
  request.batch = 10;
  const Evaluation plain = evaluate_ode(model, data, request);
  CHECK(solver_chart(plain).series.empty());
  request.solver_curve = true;
  for (const bool twice : {true, false}) {
    request.numerical_error = twice;
    const Evaluation e = evaluate_ode(model, data, request);
    CHECK(e.nats == plain.nats);
    const Tensor own = e.table.column(solver_cost_at(1));
    CHECK((~own.isnan()).sum().item<int64_t>() == 16);
    CHECK((~own.slice(0, 0, 16).isnan()).all().item<bool>());
    const LineChart chart = solver_chart(e);
    const Series& line = chart.series.at(0);
    CHECK(line.notes == std::vector<std::string>{"0.0001", "0.001", "0.01"});
    CHECK(line.x[2] < line.x[1]);
    CHECK(line.x[1] < line.x[0]);
    CHECK(line.x[0] < chart.series.at(1).x[0]);  // of the solve itself
    CHECK(line.y[0] < line.y[2]);
    if (twice)  // those two solves are all that the result counts
      CHECK((own + e.table.column(solver_cost_at(10)) - e.table.column("evaluations"))
                .slice(0, 0, 16)
                .abs()
                .max()
                .item<double>() == 0);
  }
  request.rtol = request.atol = 0.05;
  CHECK(solver_chart(evaluate_ode(model, data, request)).series.at(0).x.size() == 1);
}

TEST_CASE("parts of an evaluation are drawn as the whole is") {
  const Dataset data = normal_data(60, 2, 16);
  const Model model = exact_model(data, cosine_chain(20));
  EvaluateRequest request;
  request.batch = 7;
  request.limit = 45;
  request.paths = 4;
  request.solver_curve = true;
  for (const auto& evaluate : {evaluate_vlb, evaluate_ais, evaluate_ode}) {
    Evaluation whole = evaluate(model, data, request);
    std::vector<Json> parts;
    for (const int64_t shard : {2, 3, 1}) {
      EvaluateRequest part = request;
      part.shard = shard;
      part.shards = 3;
      const Evaluation of_part = evaluate(model, data, part);
      CHECK(evaluation_picture(of_part, "a part").svg().find("<svg") != std::string::npos);
      parts.push_back(Json::parse(shard_json(of_part).dump()));
    }
    Evaluation merged = merge_evaluations(parts, {"2", "3", "1"});
    whole.seconds = merged.seconds = 0;
    CHECK(at::equal(evaluation_picture(whole, "m").pixels(),
                    evaluation_picture(merged, "m").pixels()));
  }
}

TEST_CASE("a path of one level has no terms to draw, and a picture all the same") {
  const Dataset data = normal_data(3, 2);
  EvaluateRequest request;
  request.path_steps = 1;
  const Evaluation e = evaluate_vlb(exact_model(data, cosine_chain(20)), data, request);
  CHECK(level_chart(e).series.empty());
  CHECK(log_snr_chart(e).series.empty());
  CHECK(evaluation_picture(e, "m").svg().find("<svg") != std::string::npos);
}

TEST_CASE("every method makes a picture, of one example too") {
  for (const int64_t levels : {0, 16})
    for (const int64_t limit : {1, 9}) {
      const Dataset data = normal_data(9, 2, levels);
      const Model model = exact_model(data, cosine_chain(20));
      EvaluateRequest request;
      request.limit = limit;
      request.paths = limit;
      request.solver_curve = true;
      for (const auto& evaluate : {evaluate_vlb, evaluate_ais, evaluate_ode})
        for (const char* divergence : {"exact", "rademacher"}) {
          request.divergence = divergence;
          const at::Tensor pixels =
              evaluation_picture(evaluate(model, data, request), "m").pixels();
          CHECK(pixels.sizes().slice(0, 1) == at::IntArrayRef({3}));
          CHECK((pixels < 128).sum().item<int64_t>() > 1000);
        }
    }
}
