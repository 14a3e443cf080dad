#include <cmath>

#include "tests/tensor/bad_input.h"
#include "tweedie/datasets/datasets.h"

using namespace tweedie;

namespace {

const char* const kToys[] = {"swiss-roll", "two-moons", "checkerboard", "rings",
                             "gaussian-mixture"};

Dataset toy(const std::string& name, Json more = Json::object()) {
  more["path"] = name;
  return make_toy(more);
}

Tensor all_points(const Dataset& data) {
  std::vector<int64_t> indices(static_cast<size_t>(data.size));
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<int64_t>(i);
  return data.get(indices).x.to(at::kDouble);
}

/// Integral of the density over [-4, 4]^2 by the midpoint rule.
double mass(const Dataset& data, int64_t cells) {
  const Tensor line =
      (at::arange(cells, at::kDouble) + 0.5) * (8.0 / static_cast<double>(cells)) - 4;
  const Tensor x = line.repeat({cells}), y = line.repeat_interleave(cells);
  const double area = 64.0 / static_cast<double>(cells * cells);
  return data.log_density(at::stack({x, y}, 1)).exp().sum().item<double>() * area;
}

}  // namespace

TEST_CASE("every toy is centred, of about unit variance, and repeats itself") {
  for (const char* name : kToys) {
    CAPTURE(name);
    const Dataset data = toy(name);
    CHECK(data.size == 10000);
    CHECK(data.shape == std::vector<int64_t>{2});
    CHECK(data.levels == 0);
    const Tensor points = all_points(data);
    // The mean of 10,000 points of unit variance has a standard error of 0.01.
    CHECK(points.mean(0).abs().max().item<double>() < 0.05);
    CHECK(points.var(0, true).mean().item<double>() == doctest::Approx(1).epsilon(0.04));
    CHECK(at::equal(points, all_points(toy(name))));
    CHECK_FALSE(at::equal(points, all_points(toy(name, {{"seed", 1}}))));
    const Tensor test = all_points(toy(name, {{"split", "test"}, {"n_test", 300}}));
    CHECK(test.size(0) == 300);
    CHECK_FALSE(at::equal(test, points.slice(0, 0, 300)));
    // A point does not depend on how many there are.
    CHECK(at::equal(all_points(toy(name, {{"n", 10}})), points.slice(0, 0, 10)));
  }
}

TEST_CASE("densities that are known integrate to 1") {
  // The checkerboard's edges cross cells of the rule: 24 of them, 1/1200 of the area each.
  CHECK(mass(toy("checkerboard"), 1200) == doctest::Approx(1).epsilon(0.01));
  CHECK(mass(toy("gaussian-mixture"), 400) == doctest::Approx(1).epsilon(1e-6));
  CHECK(mass(toy("gaussian-mixture", {{"components", 1}, {"std", 0.5}}), 400) ==
        doctest::Approx(1).epsilon(1e-6));
  CHECK(mass(toy("rings", {{"std", 0.1}}), 800) == doctest::Approx(1).epsilon(1e-4));
  CHECK_FALSE(toy("swiss-roll").log_density);
  CHECK_FALSE(toy("two-moons").log_density);
}

TEST_CASE("points are spread as their density says") {
  for (const char* name : {"checkerboard", "rings", "gaussian-mixture"}) {
    CAPTURE(name);
    const Dataset data = toy(name, {{"n", 20000}});
    const Tensor points = all_points(data);
    const Tensor log_p = data.log_density(points);
    CHECK(log_p.isfinite().all().item<bool>());
    // Entropy by the points against entropy by quadrature; 20,000 points: standard error below
    // 0.01.
    const int64_t cells = 600;
    const Tensor line = (at::arange(cells, at::kDouble) + 0.5) * (8.0 / cells) - 4;
    const Tensor grid = at::stack({line.repeat({cells}), line.repeat_interleave(cells)}, 1);
    const Tensor log_grid = data.log_density(grid);
    const Tensor terms =
        at::where(log_grid.isfinite(), log_grid.exp() * log_grid, at::zeros({}, at::kDouble));
    const double by_grid = terms.sum().item<double>() * 64.0 / (cells * cells);
    CHECK(std::abs(log_p.mean().item<double>() - by_grid) < 0.04);
    // Every quarter of the plane holds its share.
    for (const double sx : {-1.0, 1.0}) {
      const Tensor in_points =
          (points.select(1, 0) * sx).gt(0).logical_and(points.select(1, 1).gt(0));
      const Tensor in_grid = (grid.select(1, 0) * sx).gt(0).logical_and(grid.select(1, 1).gt(0));
      const double share = (log_grid.exp() * in_grid).sum().item<double>() * 64.0 / (cells * cells);
      CHECK(std::abs(in_points.to(at::kDouble).mean().item<double>() - share) < 0.015);
    }
  }
}

TEST_CASE("the density of a mixture of one is the Gaussian's") {
  const Dataset data = toy("gaussian-mixture", {{"components", 1}, {"std", 0.5}});
  const Tensor x = at::tensor({0.3, -0.7}, at::kDouble).view({1, 2});
  const double expected = -(0.09 + 0.49) / (2 * 0.25) - std::log(2 * M_PI * 0.25);
  CHECK(data.log_density(x).item<double>() == doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("toys and options that do not exist or make no sense are refused") {
  const auto error = [](const std::string& name, const Json& more) {
    return refusal([&] { toy(name, more); });
  };
  CHECK(says(error("swis-roll", Json::object()), "did you mean 'swiss-roll'"));
  CHECK(says(error("", Json::object()), "which?"));
  CHECK(says(refusal([] { make_toy(Json::object()); }), "gaussian-mixture"));
  CHECK(says(error("swiss-roll", {{"components", 3}}), "unknown option 'components'"));
  CHECK(says(error("rings", {{"components", 0}}), "1 to 1000"));
  CHECK(says(error("rings", {{"std", 0}}), "between 0 and 1"));
  CHECK(says(error("checkerboard", {{"squares", 3}}), "even number"));
  CHECK(says(error("two-moons", {{"n", 0}}), "1 to 100000000"));
  CHECK(says(error("two-moons", {{"seed", -1}}), "0 or more"));
  CHECK(says(error("two-moons", {{"split", 1}}), "\"train\" or \"test\""));
  const Dataset data = toy("gaussian-mixture");
  CHECK(says(refusal([&] { data.log_density(at::zeros({3})); }), "points [B, 2]"));
  CHECK(says(refusal([&] { data.get({10000}); }), "there is no example 10000"));
  for (const char* name : kToys) CHECK(says(toy_options_help(), name));
}
