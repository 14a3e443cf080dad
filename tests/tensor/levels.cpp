#include "tweedie/tensor/levels.h"

#include <doctest/doctest.h>

#include <vector>

#include "tweedie/base/error.h"
#include "tweedie/process/schedule.h"

using namespace tweedie;

namespace {

double distance(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace

TEST_CASE("per-example coefficients take the batch's shape, type and order") {
  const std::vector<Level> levels = {vp_linear().at(0.1), vp_linear().at(0.9)};
  const at::Tensor like = at::zeros({2, 3, 4}, at::kFloat);
  const at::Tensor alpha = per_example(
      levels, [](const Level& l) { return l.alpha; }, like);
  CHECK(alpha.sizes() == at::IntArrayRef({2, 1, 1}));
  CHECK((alpha.scalar_type() == at::kFloat));
  CHECK(alpha[1].item<float>() == static_cast<float>(levels[1].alpha));
  const at::Tensor shared = per_example(
      levels[0], [](const Level& l) { return l.sigma; }, like.to(at::kDouble));
  CHECK(shared.sizes() == at::IntArrayRef({1, 1, 1}));
  CHECK(shared.item<double>() == levels[0].sigma);
  CHECK_THROWS_AS(per_example(
                      levels, [](const Level& l) { return l.t; }, at::zeros({3, 1})),
                  Error);
}

TEST_CASE("the views of a prediction give back the noise that made x_t") {
  const std::vector<Level> levels = {vp_linear().at(0.3), cosine().at(0.5), flow().at(0.8)};
  const at::Tensor x0 = at::linspace(-1, 1, 12, at::kDouble).view({3, 4});
  const at::Tensor eps = at::linspace(2, -1.5, 12, at::kDouble).view({3, 4}).cos();
  const at::Tensor x_t = diffuse(x0, levels, eps);
  const auto of = [&](double Level::*member) {
    return per_example(
        levels, [member](const Level& l) { return l.*member; }, x0);
  };
  const at::Tensor alpha = of(&Level::alpha), sigma = of(&Level::sigma);
  // Rounding of doubles of order 1, divided by sigma > 0.3.
  CHECK(distance(x_t, alpha * x0 + sigma * eps) <= 1e-15);
  CHECK(distance(eps_from_x0(x_t, x0, levels), eps) <= 1e-14);
  CHECK(distance(v_from_x0(x_t, x0, levels), alpha * eps - sigma * x0) <= 1e-14);
  CHECK(distance(score_from_x0(x_t, x0, levels), -eps / sigma) <= 1e-14);
  CHECK(distance(velocity_from_x0(x_t, x0, levels),
                 of(&Level::d_alpha) * x0 + of(&Level::d_sigma) * eps) <= 1e-13);
}

TEST_CASE("a chain has no velocity and says what to use") {
  const at::Tensor x = at::zeros({1, 2}, at::kDouble);
  CHECK_THROWS_WITH_AS(velocity_from_x0(x, x, linear_chain(10).at(0.5)),
                       doctest::Contains("interpolated(chain)"), Error);
}
