// Data N(0, s0^2) on a chain: the true reverse kernels, the bound and its gap are known exactly.
#include <doctest/doctest.h>

#include <numbers>

#include "tests/process/support.h"
#include "tweedie/process/path.h"
#include "tweedie/process/posterior.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

double marginal_var(const Level& l, double data_var) {
  return l.alpha * l.alpha * data_var + l.sigma * l.sigma;
}

/// The true reverse kernel N(gain x_t, var), from `posterior` and the variance of x_0 given x_t.
struct Reverse {
  double gain, var;
};

Reverse true_reverse(const Level& s, const Level& t, double data_var) {
  const Posterior q = posterior(s, t);
  const double v = marginal_var(t, data_var), x0_gain = t.alpha * data_var / v,
               x0_var = data_var * t.sigma * t.sigma / v;
  return {q.c_x + q.c_x0 * x0_gain, q.var + q.c_x0 * q.c_x0 * x0_var};
}

/// Mean of -log p(x_s | x_t) in nats, for a model with the true mean and variance `var`.
double cross_entropy(double true_var, double var) {
  return 0.5 * (std::log(2 * std::numbers::pi * var) + true_var / var);
}

/// E[-bound] - entropy of the data in nats, when step `s <- t` has the variance `model_var`.
template <class ModelVar>
double gap(const Schedule& chain, double data_var, const ModelVar& model_var) {
  const Path path = chain_path(chain);
  double nats = 0.5 * (std::log(2 * std::numbers::pi) + marginal_var(path[0], data_var));
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    const Level &t = path[i], &s = path[i + 1];
    const double forward = 0.5 * std::log(2 * std::numbers::pi * std::numbers::e *
                                          posterior(s, t).var_large);  // entropy of q(x_t | x_s)
    const double true_var = true_reverse(s, t, data_var).var;
    nats += cross_entropy(true_var, model_var(s, t, true_var)) - forward;
  }
  return nats - 0.5 * std::log(2 * std::numbers::pi * std::numbers::e * data_var);
}

double excess_of_large_variance(int64_t steps) {
  // The linear chain, each beta of which is cut at 0.999 where T is small, as the figures below had
  // it.
  std::vector<double> betas;
  for (int64_t i = 0; i < steps; ++i)
    betas.push_back(
        std::min(0.999, (0.1 + 19.9 * static_cast<double>(i) / static_cast<double>(steps - 1)) /
                            static_cast<double>(steps)));
  return gap(chain_from_betas("linear", betas), 0.25,
             [](const Level& s, const Level& t, double) { return posterior(s, t).var_large; });
}

}  // namespace

TEST_CASE("the true reverse kernel of Gaussian data is its closed form") {
  for (const Schedule& chain : chains(1000))
    for (const double data_var : {0.25, 1.0, 4.0})
      for (const int64_t i : {1, 2, 10, 500, 1000}) {
        const Level s = step_of(chain, i - 1), t = step_of(chain, i);
        const double kept = t.alpha / s.alpha, v_s = marginal_var(s, data_var),
                     v_t = marginal_var(t, data_var);
        const Reverse reverse = true_reverse(s, t, data_var);
        CHECK(std::abs(reverse.gain - kept * v_s / v_t) < 1e-12);
        CHECK(std::abs(reverse.var - (v_s - kept * kept * v_s * v_s / v_t)) < 1e-12);
      }
}

TEST_CASE("the true reverse variance is beta for unit data and beta-tilde for a single point") {
  const Schedule chain = linear_chain(1000);
  for (const int64_t i : {2, 10, 500, 1000}) {
    const Level s = step_of(chain, i - 1), t = step_of(chain, i);
    CHECK(relative_error(true_reverse(s, t, 1).var, posterior(s, t).var_large) < 1e-12);
    CHECK(true_reverse(s, t, 0).var == posterior(s, t).var);
  }
}

TEST_CASE(
    "with true reverse kernels the bound misses the entropy by the terminal divergence alone") {
  for (const int64_t steps : {10, 100, 1000, 4000})
    for (const Schedule& chain : {linear_chain(steps), cosine_chain(steps)})
      for (const double data_var : {0.25, 1.0, 4.0}) {
        const double v = marginal_var(chain.at(1), data_var),
                     divergence = 0.5 * (v - 1 - std::log1p(v - 1));
        const double found =
            gap(chain, data_var, [](const Level&, const Level&, double var) { return var; });
        CAPTURE(steps);
        CHECK(std::abs(found - divergence) < 1e-10);  // 4000 terms, each right to 1e-14
      }
}

TEST_CASE("the bound's excess with variance beta falls as 1/T") {
  CHECK(excess_of_large_variance(10) == doctest::Approx(0.122).epsilon(0.005));
  CHECK(excess_of_large_variance(100) == doctest::Approx(0.011).epsilon(0.01));
  CHECK(excess_of_large_variance(1000) == doctest::Approx(1.09e-3).epsilon(0.01));
  CHECK(excess_of_large_variance(4000) == doctest::Approx(2.7e-4).epsilon(0.02));
}

TEST_CASE("the bound's excess with clipped beta-tilde does not vanish") {
  const auto excess = [](int64_t steps) {
    const Schedule chain = linear_chain(steps);
    const double floor = posterior(step_of(chain, 1), step_of(chain, 2)).var;
    return gap(chain, 0.25, [floor](const Level& s, const Level& t, double) {
      return s.sigma == 0 ? floor : posterior(s, t).var;
    });
  };
  CHECK(excess(1000) == doctest::Approx(0.57).epsilon(0.02));
  CHECK(excess(4000) == doctest::Approx(0.49).epsilon(0.01));
  CHECK(excess(20000) > 0.45);
}
