#include "tweedie/metrics/frechet.h"

#include <algorithm>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

constexpr int64_t kFewestExamples = 2048, kFewestForEachFeature = 10;

/// Eigenvalues of a symmetric matrix, rounded up to 0, and its eigenvectors.
struct Spectrum {
  Tensor values, vectors;
};

Spectrum spectrum_of(const Tensor& matrix, const char* what) {
  const auto [values, vectors] = at::linalg_eigh(0.5 * (matrix + matrix.t()), "L");
  const double least = values.min().item<double>(), most = values.max().item<double>();
  check(least >= -1e-8 * std::max(most, 0.0), "Frechet distance: ", what, " has the eigenvalue ",
        least, "; a covariance has none below 0");
  return {values.clamp_min(0), vectors};
}

struct Moments {
  Tensor mean, covariance;
};

Moments moments_of(const Tensor& rows) {
  const Tensor mean = rows.mean(0), centred = rows - mean;
  return {mean, at::matmul(centred.t(), centred) / static_cast<double>(rows.size(0) - 1)};
}

void check_moments(const Tensor& mean, const Tensor& covariance, const Tensor& like) {
  check(mean.dim() == 1 && mean.sizes() == like.sizes() && covariance.dim() == 2 &&
            covariance.size(0) == mean.size(0) && covariance.size(1) == mean.size(0),
        "Frechet distance: expected means [D] and covariances [D, D], got ", mean.sizes(), " and ",
        covariance.sizes());
  check(
      at::allclose(covariance, covariance.t(), 1e-8, 1e-8 * covariance.abs().max().item<double>()),
      "Frechet distance: a covariance is not symmetric");
}

}  // namespace

double frechet_distance(const Tensor& mean_a, const Tensor& covariance_a, const Tensor& mean_b,
                        const Tensor& covariance_b) {
  check_moments(mean_a, covariance_a, mean_a);
  check_moments(mean_b, covariance_b, mean_a);
  const Spectrum a = spectrum_of(covariance_a.to(at::kDouble), "the first covariance");
  const Spectrum b = spectrum_of(covariance_b.to(at::kDouble), "the second covariance");
  // tr of the root of A^(1/2) B A^(1/2) is the sum of the singular values of A^(1/2) B^(1/2), which
  // keeps the digits that squaring would lose.
  const Tensor root_a = a.vectors * a.values.sqrt(), root_b = b.vectors * b.values.sqrt();
  const Tensor overlap = at::linalg_svdvals(at::matmul(root_a.t(), root_b)).sum();
  const Tensor apart = (mean_a - mean_b).to(at::kDouble).square().sum();
  return (apart + a.values.sum() + b.values.sum() - 2 * overlap).item<double>();
}

Frechet frechet(const Tensor& a, const Tensor& b, const FrechetOptions& options) {
  const TwoSamples sets = as_two_samples(a, b, "Frechet distance");
  const int64_t dims = sets.a.size(1), fewest = std::min(sets.a.size(0), sets.b.size(0));
  const int64_t needed = std::max(kFewestExamples, kFewestForEachFeature * dims);
  check(options.any_size || fewest >= needed, "Frechet distance: ", fewest, " examples of ", dims,
        " features are too few for a number that means anything; give ", needed,
        " or more of each set, or say that any number will do (--any-size)");
  const Moments of_a = moments_of(sets.a), of_b = moments_of(sets.b);
  return {frechet_distance(of_a.mean, of_a.covariance, of_b.mean, of_b.covariance), sets.a.size(0),
          sets.b.size(0), dims};
}

}  // namespace tweedie
