#include "tweedie/metrics/sliced_wasserstein.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "tweedie/base/error.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

constexpr int64_t kProjectionsAtOnce = 64;  // projections

/// Which sorted points of sets of n and m are matched, and how much mass moves between them.
struct Plan {
  Tensor of_a, of_b, mass;
};

Plan plan_between(int64_t n, int64_t m) {
  std::vector<int64_t> of_a, of_b;
  std::vector<double> mass;
  // In units of 1 / (n m): the i-th point of a ends at (i + 1) m, the j-th of b at (j + 1) n.
  for (int64_t i = 0, j = 0, done = 0; i < n && j < m;) {
    const int64_t end_a = (i + 1) * m, end_b = (j + 1) * n, end = std::min(end_a, end_b);
    of_a.push_back(i);
    of_b.push_back(j);
    mass.push_back(static_cast<double>(end - done) /
                   (static_cast<double>(n) * static_cast<double>(m)));
    done = end;
    i += end == end_a;
    j += end == end_b;
  }
  return {at::tensor(of_a, at::kLong), at::tensor(of_b, at::kLong), at::tensor(mass, at::kDouble)};
}

}  // namespace

SlicedWasserstein sliced_wasserstein(const Tensor& a, const Tensor& b,
                                     const SlicedWassersteinOptions& options) {
  const TwoSamples sets = as_two_samples(a, b, "sliced Wasserstein");
  check(options.projections >= 1, "sliced Wasserstein: expected 1 projection or more, got ",
        options.projections);
  const Plan plan = plan_between(sets.a.size(0), sets.b.size(0));
  std::vector<Tensor> parts;
  for (int64_t first = 0; first < options.projections; first += kProjectionsAtOnce) {
    std::vector<int64_t> numbers(
        static_cast<size_t>(std::min(kProjectionsAtOnce, options.projections - first)));
    std::iota(numbers.begin(), numbers.end(), first);
    Tensor directions =
        keyed_normal({options.seed, Stream::evaluation}, numbers, 0, {sets.a.size(1)})
            .to(at::kDouble);  // [P, D]
    directions = directions / directions.norm(2, {1}, true);
    const auto sorted = [&](const Tensor& set) {
      return std::get<0>(at::matmul(directions, set.t()).sort(1));
    };
    const Tensor moved =
        sorted(sets.a).index_select(1, plan.of_a) - sorted(sets.b).index_select(1, plan.of_b);
    parts.push_back(at::mv(moved.square(), plan.mass));
  }
  const Tensor squares = at::cat(parts);
  const double distance = std::sqrt(squares.mean().item<double>());
  const double error =
      squares.std().item<double>() / std::sqrt(static_cast<double>(options.projections));
  // The error of a root is that of the square over twice the root.
  return {distance, distance > 0 ? error / (2 * distance) : error, options.projections};
}

}  // namespace tweedie
