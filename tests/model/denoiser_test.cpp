#include "tweedie/model/denoiser.h"

#include <doctest/doctest.h>

#include "tests/model/gaussian.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// Says what it was given, and as many channels as it is told.
struct Recorder : Network {
  int64_t copies = 2;
  Tensor seen_x, seen_label;
  Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition&) override {
    seen_x = x;
    seen_label = c_noise;
    std::vector<Tensor> parts{0.5 * x};
    for (int64_t i = 1; i < copies; ++i) parts.push_back(at::full_like(x, 0.4));
    return at::cat(parts, 1);
  }
};

double thousandths(const Level& l) { return 1000 * l.t; }

/// x0 is the label: what a condition changes is seen in the prediction.
Prediction labelled(const Tensor& x_t, Levels, const Condition& condition) {
  return {x_t / 3 + condition.label.to(x_t.options()).view({-1, 1}), at::full_like(x_t, 0.25)};
}

Condition label(std::vector<int64_t> ids) { return {at::tensor(ids), {}}; }

}  // namespace

TEST_CASE("a network is fed c_in x and each example's label, and read by its own scaling") {
  const auto network = std::make_shared<Recorder>();
  const Parameterisation edm = edm_prediction(0.5);
  const Parameterisation both = [&](const Level& l) {
    Scaling k = edm(l);
    k.c_noise = thousandths(l);
    return k;
  };
  const std::vector<Level> levels = {vp_linear().at(0.2), vp_linear().at(0.7)};
  const Tensor x = at::tensor({0.4, -1.0}, f64()).view({2, 1});
  const Prediction prediction = make_denoiser(network, both)(x, levels, {});
  for (int64_t i = 0; i < 2; ++i) {
    const Scaling k = both(levels[static_cast<size_t>(i)]);
    const double value = x[i].item<double>();
    CHECK(is_near(network->seen_x[i].item<double>(), k.c_in * value, 1e-15));
    CHECK(network->seen_label[i].item<double>() == k.c_noise);
    CHECK(is_near(prediction.x0[i].item<double>(),
                  k.c_skip * value + k.c_out * 0.5 * k.c_in * value, 1e-14));
  }
  CHECK(distance(prediction.var_mix, at::full({2, 1}, 0.7, f64())) <= 1e-15);  // (0.4 + 1) / 2
}

TEST_CASE(
    "a shared level is told to every example; a network of C channels has no learned variance") {
  const auto network = std::make_shared<Recorder>();
  network->copies = 1;
  const Prediction prediction = make_denoiser(network, eps_prediction(thousandths))(
      at::zeros({3, 2, 4}, f64()), linear_chain(10).at(0.5), {});
  CHECK_FALSE(prediction.var_mix.defined());
  CHECK(at::equal(network->seen_label, at::full({3}, 500.0, f64())));
}

TEST_CASE("a network with the wrong number of channels is refused") {
  const auto network = std::make_shared<Recorder>();
  network->copies = 3;
  CHECK_THROWS_WITH_AS(make_denoiser(network, eps_prediction(thousandths))(at::zeros({1, 2}, f64()),
                                                                           vp_linear().at(0.5), {}),
                       doctest::Contains("expected 2 or 4 channels"), Error);
}

TEST_CASE("guidance of weight 1 is the conditional model and of 0 the unconditional, bitwise") {
  const Condition condition = label({4, 7}), null = label({0, 0});
  const Tensor x = at::tensor({0.1, -2.3}, f64()).view({2, 1});
  const Level level = vp_linear().at(0.4);
  const Tensor with = labelled(x, level, condition).x0, without = labelled(x, level, null).x0;
  CHECK(at::equal(guided(labelled, 1, null)(x, level, condition).x0, with));
  CHECK(at::equal(guided(labelled, 0, null)(x, level, condition).x0, without));
  const Prediction strong = guided(labelled, 3, null)(x, level, condition);
  CHECK(distance(strong.x0, without + 3 * (with - without)) <= 1e-14);
  CHECK(at::equal(strong.var_mix, at::full({2, 1}, 0.25, f64())));
}

TEST_CASE("clipping clamps the prediction and leaves the variance alone") {
  const Tensor x = at::tensor({9.0, -9.0, 0.3}, f64()).view({3, 1});
  const Prediction prediction =
      clipped(labelled, -1, 0.5)(x, vp_linear().at(0.4), label({0, 0, 0}));
  CHECK(distance(prediction.x0, at::tensor({0.5, -1.0, 0.1}, f64()).view({3, 1})) <= 1e-15);
  CHECK(prediction.var_mix.defined());
}

TEST_CASE("thresholding bounds each example by its own quantile, never below 1, and rescales it") {
  const Denoiser bare = [](const Tensor& x_t, Levels, const Condition&) {
    return Prediction{x_t, at::full_like(x_t, 0.25)};
  };
  const Tensor x = at::tensor({0.5, -0.2, 0.9, -4.0, 2.0, 1.0, 5.0, -1.0, 3.0}, f64()).view({3, 3});
  const Level level = vp_linear().at(0.5);
  // The median of |x0| is 0.5 (so 1), 2 and 3.
  const Prediction prediction = thresholded(bare, 0.5)(x, level, {});
  const Tensor expected =
      at::tensor({0.5, -0.2, 0.9, -1.0, 1.0, 0.5, 1.0, -1 / 3.0, 1.0}, f64()).view({3, 3});
  CHECK(distance(prediction.x0, expected) <= 1e-15);
  CHECK(at::equal(prediction.var_mix, at::full_like(x, 0.25)));
  const Prediction capped = thresholded(bare, 0.5, 1)(x, level, {});
  CHECK(at::equal(capped.x0, x.clamp(-1, 1)));
  CHECK_THROWS_WITH_AS(thresholded(bare, 0), doctest::Contains("share"), Error);
  CHECK_THROWS_WITH_AS(thresholded(bare, 0.9, 0.5), doctest::Contains("most"), Error);
}
