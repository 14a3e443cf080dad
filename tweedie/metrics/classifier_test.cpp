#include "tweedie/metrics/classifier_test.h"

#include <cmath>
#include <vector>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

constexpr int64_t kFewestOfEach = 10, kTestedAtOnce = 2048;

}  // namespace

ClassifierTest classifier_test(const Tensor& a, const Tensor& b,
                               const ClassifierTestOptions& options) {
  const TwoSamples sets = as_two_samples(a, b, "classifier test");
  const int64_t each = std::min(sets.a.size(0), sets.b.size(0)), half = each / 2;
  check(each >= kFewestOfEach, "classifier test: the smaller set has ", each,
        " examples; expected ", kFewestOfEach, " or more");
  const auto shuffled = [&](const Tensor& set, int64_t number) {
    return set.index_select(0, random_order(options.seed, number, set.size(0)));
  };
  const Tensor mixed_a = shuffled(sets.a, 0), mixed_b = shuffled(sets.b, 1);
  const Tensor learned = at::cat({mixed_a.narrow(0, 0, half), mixed_b.narrow(0, 0, half)});
  const Tensor tested =
      at::cat({mixed_a.narrow(0, half, each - half), mixed_b.narrow(0, half, each - half)});
  const auto labels = [](int64_t of_each) {
    return at::cat({at::ones({of_each}, at::kDouble), at::zeros({of_each}, at::kDouble)});
  };
  const Tensor label = labels(half), truth = labels(each - half);
  int64_t neighbours = options.neighbours;
  if (neighbours == 0)
    neighbours = static_cast<int64_t>(std::sqrt(static_cast<double>(2 * half))) / 2 * 2 + 1;
  check(neighbours >= 1 && neighbours <= 2 * half && neighbours % 2 == 1,
        "classifier test: expected an odd number of neighbours from 1 to ", 2 * half, ", got ",
        neighbours);
  std::vector<Tensor> votes;
  for (int64_t first = 0; first < tested.size(0); first += kTestedAtOnce) {
    const Tensor part = tested.slice(0, first, first + kTestedAtOnce);
    const Tensor nearest = std::get<1>(at::cdist(part, learned).topk(neighbours, 1, false));
    votes.push_back(label.index_select(0, nearest.flatten()).view_as(nearest).mean(1));
  }
  const Tensor right = (at::cat(votes) > 0.5) == (truth > 0.5);
  const double count = static_cast<double>(tested.size(0)),
               accuracy = right.to(at::kDouble).mean().item<double>();
  const double deviations = (accuracy - 0.5) * 2 * std::sqrt(count);
  return {accuracy, std::sqrt(accuracy * (1 - accuracy) / count),
          0.5 * std::erfc(deviations / std::sqrt(2.0)), neighbours, tested.size(0)};
}

}  // namespace tweedie
