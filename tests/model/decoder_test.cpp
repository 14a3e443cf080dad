#include <doctest/doctest.h>

#include "tests/model/gaussian.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// All 256 values as 256 examples of one dimension.
Tensor every_value() { return (at::arange(256, f64()) * (2.0 / 255) - 1).view({256, 1}); }

double total_probability(const Decoder& decoder, double predicted, const Level& level,
                         double x_t = 0) {
  const Tensor x0 = every_value();
  return decoder({at::full_like(x0, predicted), at::full_like(x0, 0.3)}, at::full_like(x0, x_t),
                 level, x0)
      .exp()
      .sum()
      .item<double>();
}

}  // namespace

TEST_CASE("the probabilities of the 256 bins sum to 1, wherever the normal is and however narrow") {
  const Level first = linear_chain(1000).at(0.001);
  for (const double predicted : {0.0, 0.5, -0.999, 1.0, 1.7})
    for (const double variance : {1e-6, 1e-4, 1e-2, 10.0}) {
      CHECK(
          is_near(total_probability(discretised_gaussian_decoder(256, variance), predicted, first),
                  1, 1e-12));
      CHECK(is_near(
          total_probability(discretised_gaussian_decoder(256, variance, true), predicted, first), 1,
          1e-12));
    }
  for (const double x_t : {0.0, -1.0, 0.31})
    CHECK(is_near(total_probability(softmax_decoder(256), 0, first, x_t), 1, 1e-12));
}

TEST_CASE("the probability of a bin is the difference of erf at its edges") {
  const double std = 0.02, x = 2.0 * 131 / 255 - 1, predicted = 0.04;
  const Tensor x0 = at::full({1, 1}, x, f64());
  const double nats =
      discretised_gaussian_decoder(256, std * std)({at::full({1, 1}, predicted, f64()), {}}, x0,
                                                   linear_chain(1000).at(0.001), x0)
          .item<double>();
  const auto cdf = [&](double edge) {
    return 0.5 * std::erfc(-(edge - predicted) / std / std::numbers::sqrt2);
  };
  CHECK(is_near(std::exp(nats), cdf(x + 1.0 / 255) - cdf(x - 1.0 / 255), 1e-14));
}

TEST_CASE("bins in the far tail have their probability, not a floor") {
  // 100 standard deviations away: log(Phi(high) - Phi(low)) is log phi(z)/z at the near edge, z
  // = 99.6, to 1/z^2.
  const double std = 0.01, z = 100 - 1 / 255.0 / std;
  const Tensor x0 = at::zeros({1, 1}, f64()) + 1.0 / 255;
  for (const double side : {-1.0, 1.0}) {
    const Tensor far = x0 + side;
    const double nats = discretised_gaussian_decoder(256, std * std)(
                            {far, {}}, x0, linear_chain(1000).at(0.001), x0)
                            .item<double>();
    CHECK(is_near(nats, -0.5 * z * z - std::log(z) - 0.5 * std::log(2 * std::numbers::pi),
                  2 / (z * z)));
  }
}

TEST_CASE("the decoder's gradient is finite and points at the data, near and far") {
  const Tensor x0 = every_value();
  Tensor predicted = at::full_like(x0, 0.9).requires_grad_(true);
  discretised_gaussian_decoder(256, 1e-4)({predicted, {}}, x0, linear_chain(1000).at(0.001), x0)
      .sum()
      .backward();
  CHECK(at::isfinite(predicted.grad()).all().item<bool>());
  CHECK(((predicted.grad() * (x0 - 0.9)) >= 0).all().item<bool>());
}

TEST_CASE("dequantised: the mean log density in a bin bounds the bin's log probability") {
  const Level first = linear_chain(1000).at(0.001);
  const double width = 2.0 / 255;
  constexpr int64_t kPoints = 2000;  // of the midpoint rule: error 1e-7 of the curvature in a bin
  const Tensor u = (at::arange(kPoints, f64()) + 0.5) / static_cast<double>(kPoints) - 0.5;
  for (const double variance : {1e-5, 1e-3, 1.0, 1e4}) {
    const Decoder density = gaussian_decoder(variance),
                  probability = discretised_gaussian_decoder(256, variance);
    for (const int64_t bin : {3, 100, 128, 200}) {
      const double centre = static_cast<double>(bin) * width - 1, predicted = 0.02;
      const Tensor x = (centre + width * u).view({kPoints, 1}),
                   one = at::full({1, 1}, centre, f64());
      const double
          mean = density({at::full_like(x, predicted), {}}, x, first, x).mean().item<double>(),
          bound = mean + std::log(width);
      const double exact =
          probability({at::full_like(one, predicted), {}}, one, first, one).sum().item<double>();
      CAPTURE(variance);
      CAPTURE(bin);
      CHECK(bound <= exact + 1e-9);
      if (variance == 1e4) CHECK(is_near(bound, exact, 1e-8));  // flat inside a bin
    }
  }
}

TEST_CASE("a model that knows nothing pays exactly 8 bits for each dimension") {
  const Tensor x0 = every_value().view({8, 32});
  const Level blind{1, 1e-14, 1, 0, 0};
  const Tensor nats = -softmax_decoder(256)({}, at::zeros_like(x0), blind, x0);
  CHECK(is_near(bits_per_dim(nats.mean().item<double>(), 32), 8, 1e-12));
}

TEST_CASE("the density decoder is the normal's density") {
  const Tensor x0 = at::tensor({0.2, -0.4}, f64()).view({1, 2}),
               predicted = at::tensor({0.5, 0.1}, f64()).view({1, 2});
  const double nats =
      gaussian_decoder(0.04)({predicted, {}}, x0, linear_chain(10).at(0.1), x0).item<double>();
  CHECK(is_near(nats, -0.5 * (0.09 + 0.25) / 0.04 - std::log(2 * std::numbers::pi * 0.04), 1e-13));
}

TEST_CASE("the customary variance of the decoder is the posterior's one step up") {
  const Schedule chain = linear_chain(1000);
  const double expected = posterior(chain.at(0.001), chain.at(0.002)).var;
  CHECK(decoder_variance(chain_path(chain)) == expected);
  CHECK(decoder_variance(without_clean(chain_path(chain))) == expected);
}

TEST_CASE("decoders refuse data without levels, and variances that were not learned") {
  CHECK_THROWS_AS(discretised_gaussian_decoder(1, 1), Error);
  CHECK_THROWS_AS(softmax_decoder(65536), Error);
  const Tensor x = at::zeros({1, 1}, f64());
  CHECK_THROWS_AS(gaussian_decoder(1, true)({x, {}}, x, linear_chain(10).at(0.1), x), Error);
}
