#include "tweedie/metrics/memorisation.h"

#include <cmath>
#include <vector>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

constexpr int64_t kPointsAtOnce = 512;

struct Nearest {
  Tensor distance, index;
};

Nearest nearest_of(const Tensor& points, const Tensor& train) {
  std::vector<Tensor> distances, indices;
  for (int64_t first = 0; first < points.size(0); first += kPointsAtOnce) {
    // Without the matrix product, whose rounding would hide an exact copy.
    const auto [distance, index] =
        at::cdist(points.slice(0, first, first + kPointsAtOnce), train, 2, 2).min(1);
    distances.push_back(distance);
    indices.push_back(index);
  }
  return {at::cat(distances), at::cat(indices)};
}

/// Half the width of Wilson's interval of one standard deviation, squared.
double wilson_variance(double share, double count) {
  const double narrowed = 1 + 1 / count;
  return (share * (1 - share) / count + 1 / (4 * count * count)) / (narrowed * narrowed);
}

}  // namespace

Memorisation memorisation(const Tensor& samples, const Tensor& train, const Tensor& held_out,
                          const MemorisationOptions& options) {
  check(options.share > 0 && options.share < 1, "memorisation: expected a share in (0, 1), got ",
        options.share);
  const Tensor a = as_rows(samples, "memorisation: the samples"),
               b = as_rows(train, "memorisation: the training data"),
               others = as_rows(held_out, "memorisation: the held-out data");
  check_comparable(a, b, "memorisation");
  check_comparable(others, b, "memorisation, held out");
  const Nearest of_samples = nearest_of(a, b), of_held_out = nearest_of(others, b);
  const double threshold = of_held_out.distance.quantile(options.share).item<double>();
  const double copied = (of_samples.distance < threshold).to(at::kDouble).mean().item<double>();
  return {of_samples.distance,
          of_held_out.distance,
          of_samples.index,
          threshold,
          copied,
          std::sqrt(wilson_variance(copied, static_cast<double>(a.size(0))) +
                    options.share * (1 - options.share) / static_cast<double>(others.size(0)))};
}

}  // namespace tweedie
