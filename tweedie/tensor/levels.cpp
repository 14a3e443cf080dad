#include "tweedie/tensor/levels.h"

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

double alpha(const Level& level) { return level.alpha; }
double sigma(const Level& level) { return level.sigma; }
double d_alpha(const Level& level) { return level.d_alpha; }
double d_sigma(const Level& level) { return level.d_sigma; }

}  // namespace

std::vector<int64_t> per_example_sizes(Levels levels, const at::Tensor& like) {
  check(like.dim() >= 1 &&
            (levels.size() == 1 || static_cast<int64_t>(levels.size()) == like.size(0)),
        "levels: got ", levels.size(), " for a batch of shape ", like.sizes(),
        "; expected one, or one for each example");
  std::vector<int64_t> sizes(static_cast<size_t>(like.dim()), 1);
  sizes[0] = static_cast<int64_t>(levels.size());
  return sizes;
}

at::Tensor sum_over_dims(const at::Tensor& x) { return x.flatten(1).sum(1); }

at::Tensor diffuse(const at::Tensor& x0, Levels levels, const at::Tensor& eps) {
  return per_example(levels, alpha, x0) * x0 + per_example(levels, sigma, x0) * eps;
}

at::Tensor eps_from_x0(const at::Tensor& x_t, const at::Tensor& x0, Levels levels) {
  return (x_t - per_example(levels, alpha, x0) * x0) / per_example(levels, sigma, x0);
}

at::Tensor v_from_x0(const at::Tensor& x_t, const at::Tensor& x0, Levels levels) {
  return per_example(levels, alpha, x0) * eps_from_x0(x_t, x0, levels) -
         per_example(levels, sigma, x0) * x0;
}

at::Tensor score_from_x0(const at::Tensor& x_t, const at::Tensor& x0, Levels levels) {
  return -eps_from_x0(x_t, x0, levels) / per_example(levels, sigma, x0);
}

at::Tensor velocity_from_x0(const at::Tensor& x_t, const at::Tensor& x0, Levels levels) {
  for (const Level& level : levels)
    check(!std::isnan(level.d_alpha), "velocity: a chain has no tangent; use interpolated(chain)");
  return per_example(levels, d_alpha, x0) * x0 +
         per_example(levels, d_sigma, x0) * eps_from_x0(x_t, x0, levels);
}

}  // namespace tweedie
