#include <cmath>

#include <doctest/doctest.h>

#include "tests/model/gaussian.h"
#include "tweedie/base/error.h"
#include "tweedie/samplers/exponential.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// int_0^h e^(rate (h - u)) u^k du by Gauss and Legendre's five points on 400 pieces.
double kernel_moment(double rate, double h, int k) {
  const double place[5] = {0, 0.5384693101056831, -0.5384693101056831, 0.906179845938664,
                           -0.906179845938664},
               weight[5] = {0.5688888888888889, 0.47862867049936647, 0.47862867049936647,
                            0.23692688505618908, 0.23692688505618908};
  double sum = 0;
  for (int piece = 0; piece < 400; ++piece)
    for (int j = 0; j < 5; ++j) {
      const double u = h / 400 * (piece + 0.5 + 0.5 * place[j]);
      sum += weight[j] * h / 800 * std::exp(rate * (h - u)) * std::pow(u, k);
    }
  return sum;
}

const Level& noisy() {
  static const Level level = vp_linear().at(0.6);
  return level;
}
const Level& cleaner() {
  static const Level level = vp_linear().at(0.4);
  return level;
}

}  // namespace

TEST_CASE("phi functions are their integrals, from tiny arguments to large ones") {
  for (const double z : {-30.0, -2.0, -1.0, -0.999, -0.3, -1e-4, 1e-9, 0.4, 1.0, 3.0}) {
    const std::vector<double> phi = phi_functions(z, 5);
    double factorial = 1;
    for (int k = 0; k < 5; ++k) {
      if (k > 0) factorial *= k;
      CAPTURE(z);
      CAPTURE(k);  // phi_(k+1)(z) = int_0^1 e^(z (1 - u)) u^k / k! du
      CHECK(phi[static_cast<size_t>(k)] ==
            doctest::Approx(kernel_moment(z, 1, k) / factorial).epsilon(1e-11));
    }
  }
}

TEST_CASE("weights of given moments integrate every polynomial through the nodes") {
  const std::vector<double> nodes = {0, -0.4, 0.3, -1.1}, moments = {0.7, -0.2, 0.5, 0.1};
  const std::vector<double> w = weights_of_moments(nodes, moments);
  for (int k = 0; k < 4; ++k) {
    double sum = 0;
    for (size_t j = 0; j < 4; ++j) sum += w[j] * std::pow(nodes[j], k);
    CHECK(sum == doctest::Approx(moments[static_cast<size_t>(k)]).epsilon(1e-13));
  }
}

TEST_CASE("an exponential step is exact where the prediction is a polynomial in half log-SNR") {
  const Level &t = noisy(), &s = cleaner();
  const double from = half_log_snr(t), h = half_log_snr(s) - from;
  const auto cubic = [&](double u) { return 0.3 - 0.7 * u + 0.2 * u * u + 0.5 * u * u * u; };
  const std::vector<double> at = {0, -0.5 * h, -1.4 * h, -2 * h};
  std::vector<double> nodes;
  for (const double u : at) nodes.push_back(from + u);
  for (const double eta : {0.0, 0.4, 1.0})
    for (const Form form : {Form::x0, Form::eps}) {
      const double rate = form == Form::x0 ? -(1 + eta) : 1,
                   scale = (1 + eta) * (form == Form::x0 ? s.alpha : -s.sigma);
      const double exact =
          scale * (0.3 * kernel_moment(rate, h, 0) - 0.7 * kernel_moment(rate, h, 1) +
                   0.2 * kernel_moment(rate, h, 2) + 0.5 * kernel_moment(rate, h, 3));
      const StepWeights step = exponential_step(t, s, form, nodes, Closure::exact, eta);
      double sum = 0;
      for (size_t j = 0; j < at.size(); ++j) sum += step.prediction[j] * cubic(at[j]);
      CHECK(sum == doctest::Approx(exact).epsilon(1e-11));
    }
}

TEST_CASE("every eta keeps the variance of pure noise: keep^2 sigma_t^2 + noise^2 = sigma_s^2") {
  // With x_0 = 0 known exactly the state is noise alone.
  for (const double eta : {0.0, 0.3, 1.0, 2.5}) {
    const StepWeights step = exponential_step(noisy(), cleaner(), Form::x0, {half_log_snr(noisy())},
                                              Closure::exact, eta);
    CHECK(step.keep * step.keep * noisy().sigma * noisy().sigma + step.noise * step.noise ==
          doctest::Approx(cleaner().sigma * cleaner().sigma).epsilon(1e-13));
  }
}

TEST_CASE(
    "one prediction makes DDIM's step in either form, from pure noise and to clean data too") {
  const Tensor x = at::tensor({0.3, -1.2}, f64()), x0 = at::tensor({0.9, -0.1}, f64());
  const Level pure = flow().at(1), middle = flow().at(0.5);
  for (const auto& [t, s] :
       {std::pair{noisy(), cleaner()}, {noisy(), clean}, {pure, middle}, {pure, clean}}) {
    const Tensor expected = s.alpha * x0 + (s.sigma / t.sigma) * (x - t.alpha * x0);
    const StepWeights alone = exponential_step(t, s, Form::x0, {half_log_snr(t)});
    CHECK(distance(alone.keep * x + alone.prediction[0] * x0, expected) <= 1e-14);
    if (t.alpha == 0) {
      CHECK_THROWS_WITH_AS(exponential_step(t, s, Form::eps, {0.0}), doctest::Contains("no signal"),
                           Error);
      continue;
    }
    const StepWeights of_eps = exponential_step(t, s, Form::eps, {half_log_snr(t)});
    CHECK(distance(of_eps.keep * x + of_eps.prediction[0] *
                                         eps_from_x0(x.view({1, 2}), x0.view({1, 2}), t).view({2}),
                   expected) <= 1e-14);
  }
}

TEST_CASE("the customary third order leaves out half of the curvature, nothing else") {
  const double from = half_log_snr(noisy()), h = half_log_snr(cleaner()) - from;
  const std::vector<double> nodes = {from, from - h, from - 2 * h};
  const StepWeights right = exponential_step(noisy(), cleaner(), Form::x0, nodes),
                    customary = exponential_step(noisy(), cleaner(), Form::x0, nodes,
                                                 Closure::exact, 0, true);
  for (const int power : {0, 1, 2}) {
    double of_right = 0, of_customary = 0;
    for (size_t j = 0; j < 3; ++j) {
      of_right += right.prediction[j] * std::pow(nodes[j] - from, power);
      of_customary += customary.prediction[j] * std::pow(nodes[j] - from, power);
    }
    CHECK(of_customary == doctest::Approx(power == 2 ? of_right / 2 : of_right).epsilon(1e-11));
  }
}
