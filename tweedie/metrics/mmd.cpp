#include "tweedie/metrics/mmd.h"

#include <cmath>
#include <vector>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

constexpr int64_t kMostPoints = 20000;  // 3.2 GB of doubles

double median_distance(const Tensor& squares) {
  const int64_t size = squares.size(0);
  const Tensor above = squares.masked_select(at::triu(at::ones({size, size}, at::kBool), 1));
  return std::sqrt(above.median().item<double>());
}

}  // namespace

Mmd mmd(const Tensor& a, const Tensor& b, const MmdOptions& options) {
  const TwoSamples sets = as_two_samples(a, b, "mmd");
  check(options.permutations >= 0, "mmd: expected 0 permutations or more, got ",
        options.permutations);
  check(options.bandwidth >= 0 && std::isfinite(options.bandwidth),
        "mmd: expected a bandwidth > 0, or 0 for the median distance, got ", options.bandwidth);
  const int64_t n = sets.a.size(0), m = sets.b.size(0), all = n + m;
  check(all <= kMostPoints, "mmd: ", all,
        " points are too many for the matrix of their pairs; use ", kMostPoints,
        " or fewer (--limit)");
  const Tensor points = at::cat({sets.a, sets.b});
  const Tensor squares = at::cdist(points, points).square();
  const double bandwidth = options.bandwidth > 0 ? options.bandwidth : median_distance(squares);
  check(bandwidth > 0,
        "mmd: more than half of the points are the same one, so that the median "
        "distance is 0; give a bandwidth");
  const Tensor kernel = (squares * (-0.5 / (bandwidth * bandwidth))).exp();
  kernel.fill_diagonal_(0);  // the unbiased estimate leaves out a point with itself

  std::vector<Tensor> members = {
      at::cat({at::ones({n}, at::kDouble), at::zeros({m}, at::kDouble)})};
  for (int64_t i = 0; i < options.permutations; ++i)
    members.push_back(members[0].index_select(0, random_order(options.seed, i, all)));
  const Tensor of_a = at::stack(members, 1);      // [n + m, 1 + P]
  const Tensor reach = at::matmul(kernel, of_a);  // of each point to those of a
  const Tensor aa = (of_a * reach).sum(0), ab = ((1 - of_a) * reach).sum(0);
  const Tensor bb = kernel.sum() - aa - 2 * ab;
  const double sizes_a = static_cast<double>(n), sizes_b = static_cast<double>(m);
  const Tensor squared = aa / (sizes_a * (sizes_a - 1)) + bb / (sizes_b * (sizes_b - 1)) -
                         2 * ab / (sizes_a * sizes_b);
  const double as_much = (squared.slice(0, 1) >= squared[0]).sum().to(at::kDouble).item<double>();
  return {squared[0].item<double>(),
          (1 + as_much) / (1 + static_cast<double>(options.permutations)), bandwidth,
          options.permutations};
}

}  // namespace tweedie
