#include "tweedie/process/weighting.h"

#include <doctest/doctest.h>

#include "tests/process/support.h"
#include "tweedie/base/error.h"
#include "tweedie/process/parameterisation.h"
#include "tweedie/process/posterior.h"
#include "tweedie/process/sde.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// The least mean squared eps error for data N(0, data_var): Var(eps | x_t).
double eps_floor(const Level& l, double data_var) {
  const double signal = l.alpha * l.alpha * data_var;
  return signal / (signal + l.sigma * l.sigma);
}

std::vector<Schedule> bounded_schedules() {  // both ends of finite log-SNR
  return {vp_linear(), sub_vp(), ve(), cosine(), edm(), log_snr_linear()};
}

double log_snr_range(const Schedule& s) { return log_snr(s.at(s.t_min)) - log_snr(s.at(s.t_max)); }

}  // namespace

TEST_CASE("the bound's weight integrates to half the range of log-SNR") {
  for (const Schedule& schedule : bounded_schedules()) {
    const Objective vlb = vlb_objective(schedule);
    CAPTURE(schedule.name);
    const double total = integral_over_u([&](double u) { return vlb.weight(vlb.draw(u)); });
    CHECK(total == doctest::Approx(0.5 * log_snr_range(schedule)).epsilon(1e-8));
  }
}

TEST_CASE("the bound of Gaussian data depends on a schedule's ends alone, and is known") {
  // Half the integral of the least error over SNR: 1/2 log((1 + v SNR_1) / (1 + v SNR_0)).
  for (const Schedule& schedule : bounded_schedules())
    for (const double data_var : {0.25, 1.0, 4.0}) {
      const Objective vlb = vlb_objective(schedule);
      const double found = integral_over_u([&](double u) {
        const Level l = vlb.draw(u);
        return vlb.weight(l) * eps_floor(l, data_var);
      });
      const double most = std::exp(log_snr(schedule.at(schedule.t_min))),
                   least = std::exp(log_snr(schedule.at(schedule.t_max)));
      const double expected = 0.5 * (std::log1p(data_var * most) - std::log1p(data_var * least));
      CAPTURE(schedule.name);
      CHECK(found == doctest::Approx(expected).epsilon(1e-8));
    }
}

TEST_CASE("an interpolated chain's bound is that of any schedule with its ends") {
  const Schedule schedule = interpolated(linear_chain(1000));
  const Objective vlb = vlb_objective(schedule);
  double found =
      0;  // Simpson's rule on every interval of the chain, whose cubics are smooth inside
  for (int i = 0; i < 999; ++i)
    for (const auto& [part, factor] : {std::pair{1e-9, 1.0}, {0.5, 4.0}, {1 - 1e-9, 1.0}}) {
      const Level l = vlb.draw((i + part) / 999);
      found += factor / 6 / 999 * vlb.weight(l) * eps_floor(l, 0.25);
    }
  const double most = std::exp(log_snr(schedule.at(schedule.t_min))),
               least = std::exp(log_snr(schedule.at(schedule.t_max)));
  CHECK(found ==
        doctest::Approx(0.5 * (std::log1p(0.25 * most) - std::log1p(0.25 * least))).epsilon(1e-6));
}

TEST_CASE("on a chain the bound's weight is T times its term's coefficient") {
  for (const Schedule& chain : chains(100)) {
    const Objective vlb = vlb_objective(chain);
    for (const int64_t i : {2, 3, 50, 100}) {
      const Level s = step_of(chain, i - 1), t = step_of(chain, i);
      const Posterior q = posterior(s, t);
      // KL of two Gaussians of variance var whose means differ by c_x0 times the x0 error.
      const double of_x0 = q.c_x0 * q.c_x0 / (2 * q.var),
                   of_eps = of_x0 * (t.sigma * t.sigma) / (t.alpha * t.alpha);
      CAPTURE(chain.name);
      CHECK(relative_error(vlb.weight(t), 100 * of_eps) < 1e-9);
    }
    CHECK(vlb.weight(step_of(chain, 1)) == vlb.weight(step_of(chain, 2)));
  }
}

TEST_CASE("a chain's bound tends to the continuous one as 1/T, its first steps apart") {
  // From t = 0.1 on.  At the first steps SNR falls as 1/i whatever T is, so that their sum exceeds
  // the integral by half of Euler's constant in the end.
  const auto total = [](int64_t steps, int64_t after) {
    const Schedule chain = linear_chain(steps);
    const Objective vlb = vlb_objective(chain);
    double sum = 0;
    for (int64_t i = after + 1; i <= steps; ++i)
      sum += vlb.weight(step_of(chain, i)) * eps_floor(step_of(chain, i), 0.25) /
             static_cast<double>(steps);
    const double most = std::exp(log_snr(step_of(chain, after))),
                 least = std::exp(log_snr(step_of(chain, steps)));
    return sum - 0.5 * (std::log1p(0.25 * most) - std::log1p(0.25 * least));
  };
  CHECK(total(1000, 100) > 0);
  CHECK(total(1000, 100) / total(100000, 10000) == doctest::Approx(100).epsilon(0.02));
  const double half_of_euler = 0.5 * 0.57721566490153286;
  CHECK(total(1000, 1) > half_of_euler);
  CHECK(std::abs(total(100000, 1) - half_of_euler) < 5e-3);
}

TEST_CASE("a chain draws every step alike") {
  const Objective simple = simple_objective(linear_chain(10));
  for (int i = 0; i < 10; ++i)
    for (const double inside : {0.0, 0.5, 0.99})
      CHECK(simple.draw((i + inside) / 10).t == doctest::Approx((i + 1) / 10.0).epsilon(1e-14));
  CHECK(simple.draw(std::nextafter(1.0, 0.0)).t == 1);
}

TEST_CASE("a continuous schedule draws every time alike") {
  const Schedule schedule = vp_linear();
  const Objective simple = simple_objective(schedule);
  for (const double u : {0.0, 0.25, 0.999})
    CHECK(simple.draw(u).t == doctest::Approx(1e-5 + u * (1 - 1e-5)).epsilon(1e-14));
}

TEST_CASE("where t is the noise itself, every log-SNR is drawn alike") {
  const Objective simple = simple_objective(edm());
  for (const double u : {0.0, 0.25, 0.999})
    CHECK(simple.draw(u).t == doctest::Approx(0.002 * std::pow(40000, u)).epsilon(1e-12));
}

TEST_CASE("the likelihood objective has g^2 / sigma^2 as its density of t and one weight") {
  for (const Schedule& schedule : bounded_schedules()) {
    CAPTURE(schedule.name);
    const Objective objective = likelihood_objective(schedule);
    const double total = 0.5 * log_snr_range(schedule);
    for (const double u : {0.1, 0.4, 0.8}) {
      const Level level = objective.draw(u);
      const double h = 1e-5, dt = (objective.draw(u + h).t - objective.draw(u - h).t) / (2 * h);
      const double weight = forward_sde(level).diffusion_squared / (level.sigma * level.sigma);
      CHECK(0.5 * weight * dt == doctest::Approx(total).epsilon(1e-6));  // the difference quotient
      CHECK(objective.weight(level) == doctest::Approx(total).epsilon(1e-12));
    }
  }
}

TEST_CASE("the likelihood objective has the mean of the bound, on chains too") {
  std::vector<Schedule> schedules = bounded_schedules();
  schedules.push_back(linear_chain(300));
  for (const Schedule& schedule : schedules) {
    CAPTURE(schedule.name);
    const auto loss = [](const Objective& objective) {
      return integral_over_u([&](double u) {
        const Level level = objective.draw(u);
        return objective.weight(level) * eps_floor(level, 0.25);
      });
    };
    const double expected = loss(vlb_objective(schedule));
    CHECK(loss(likelihood_objective(schedule)) ==
          doctest::Approx(expected).epsilon(schedule.steps > 0 ? 1e-3 : 1e-8));  // steps of u
  }
}

TEST_CASE("the unweighted objective counts the network's own error once at every level") {
  const Objective objective = unweighted_objective(flow());
  CHECK(objective.error == ErrorOf::output);
  CHECK(simple_objective(flow()).error == ErrorOf::eps);
  for (const double u : {0.0, 0.5, 0.999}) CHECK(objective.weight(objective.draw(u)) == 1);
  CHECK(objective.weight(flow().at(1)) == 1);
}

TEST_CASE("the simple loss weighs every level by 1") {
  for (const Schedule& schedule : {linear_chain(), vp_linear()}) {
    const Objective simple = simple_objective(schedule);
    for (const double u : {0.0, 0.3, 0.9}) CHECK(simple.weight(simple.draw(u)) == 1);
  }
}

TEST_CASE("the mixture has the bound's total whatever its share, and its ends are its parts") {
  std::vector<Schedule> schedules = bounded_schedules();
  schedules.push_back(linear_chain(300));
  for (const Schedule& schedule : schedules) {
    CAPTURE(schedule.name);
    const Objective vlb = vlb_objective(schedule);
    const auto mean = [&](const Objective& o) {
      if (schedule.steps == 0)
        return integral_over_u([&](double u) { return o.weight(o.draw(u)); });
      double sum = 0;
      for (int64_t i = 1; i <= schedule.steps; ++i) sum += o.weight(step_of(schedule, i));
      return sum / static_cast<double>(schedule.steps);
    };
    for (const double share : {0.0, 0.3, 1.0})
      CHECK(mean(mixed_objective(schedule, share)) == doctest::Approx(mean(vlb)).epsilon(1e-8));
    CHECK(mixed_objective(schedule, 1).weight(vlb.draw(0.4)) == vlb.weight(vlb.draw(0.4)));
    // Beside the bound, which counts every log-SNR alike, the rest is a bell.
    const Objective bell = mixed_objective(schedule, 0);
    const auto beside = [&](const Level& level) { return bell.weight(level) / vlb.weight(level); };
    const Level one = vlb.draw(0.2), other = vlb.draw(0.7);
    CHECK(beside(one) / beside(other) ==
          doctest::Approx(std::cosh(0.5 * log_snr(other)) / std::cosh(0.5 * log_snr(one)))
              .epsilon(1e-12));
  }
}

TEST_CASE("levels drawn by weight have the same mean loss and one weight") {
  for (const Schedule& schedule : {linear_chain(300), log_snr_linear(), vp_linear()}) {
    CAPTURE(schedule.name);
    const Objective plain = mixed_objective(schedule, 0.3);
    const Objective drawn = drawn_by_weight(plain, schedule);
    const auto loss = [](const Objective& objective) {  // of a network with this error
      return integral_over_u([&](double u) {
        const Level level = objective.draw(u);
        return objective.weight(level) * (1 + 0.5 * std::sin(3 * level.t)) / (1 + level.t);
      });
    };
    CHECK(loss(drawn) == doctest::Approx(loss(plain)).epsilon(1e-4));  // the quadrature's steps
    double least = 1e300, most = 0;
    for (double u = 0.0005; u < 1; u += 0.001) {
      const double weight = drawn.weight(drawn.draw(u));
      least = std::min(least, weight), most = std::max(most, weight);
    }
    CHECK(most / least < (schedule.steps > 0 ? 1 + 1e-9 : 1.01));
    CHECK(drawn.draw(0).t >= schedule.t_min);
    CHECK(drawn.draw(std::nextafter(1.0, 0.0)).t <= schedule.t_max);
    CHECK(drawn.draw(0.3).t < drawn.draw(0.6).t);
  }
}

TEST_CASE("the bell is the simple loss of the cosine schedule, seen in log-SNR") {
  // There d t / d log_snr = sech(log_snr / 2) / (2 pi): Kingma & Gao 2023 (arXiv:2303.00848).
  for (const double t : {0.1, 0.5, 0.8}) {
    const Level l = cosine().at(t);
    const double slope = 2 * (l.d_alpha / l.alpha - l.d_sigma / l.sigma);
    CHECK(-1 / slope ==
          doctest::Approx(1 / std::cosh(0.5 * log_snr(l)) / (2 * 3.14159265358979323846))
              .epsilon(1e-13));
  }
}

TEST_CASE("min-SNR caps the weight of nearly clean data and leaves the rest") {
  const Schedule schedule = vp_linear();
  const Objective capped = min_snr_objective(schedule, 5);
  for (const double u : {0.001, 0.1, 0.3, 0.9}) {
    const Level l = capped.draw(u);
    const double snr = l.alpha * l.alpha / (l.sigma * l.sigma);
    CHECK(relative_error(capped.weight(l), std::min(snr, 5.0) / snr) < 1e-12);
  }
}

TEST_CASE("EDM draws log sigma from its normal distribution, on any process") {
  for (const Schedule& schedule : continuous_schedules()) {
    CAPTURE(schedule.name);
    const Objective objective = edm_objective(schedule, -1.2, 1.2);
    const auto log_sigma = [&](double u) { return -0.5 * log_snr(objective.draw(u)); };
    CHECK(log_sigma(0.5) == doctest::Approx(-1.2).epsilon(1e-9));
    CHECK(log_sigma(0.841344746068543) == doctest::Approx(0).epsilon(1e-9));
    CHECK(log_sigma(0.158655253931457) == doctest::Approx(-2.4).epsilon(1e-9));
  }
}

TEST_CASE("EDM's loss is 1 at every noise when the network says 0 and the data has sigma_data^2") {
  const double data = 0.5;
  const Schedule schedule = edm();
  const Objective objective = edm_objective(schedule, -1.2, 1.2, data);
  for (const double u : {0.01, 0.3, 0.7, 0.99}) {
    const Level l = objective.draw(u);
    const double skip = edm_prediction(data)(l).c_skip;
    const double x0_error = (1 - skip) * (1 - skip) * data * data + skip * skip * l.sigma * l.sigma;
    CHECK(objective.weight(l) * x0_error / (l.sigma * l.sigma) ==
          doctest::Approx(1).epsilon(1e-10));
  }
}

TEST_CASE("the loss of a network that says 0 is 1 with eps and alpha^2 with v") {
  // E eps^2 and, as an eps error, E (alpha v)^2 for data of variance 1.
  const Level l = cosine().at(0.3);
  const auto zero_output_loss = [&](const Parameterisation& p) {
    const Scaling s = p(l);
    const double of_x0 = (1 - s.c_skip * l.alpha) / s.c_out, of_eps = s.c_skip * l.sigma / s.c_out;
    const double to_eps = s.c_out * l.alpha / l.sigma;
    return to_eps * to_eps * (of_x0 * of_x0 + of_eps * of_eps);
  };
  const NoiseLabel none = [](const Level&) { return 0.0; };
  CHECK(zero_output_loss(eps_prediction(none)) == doctest::Approx(1).epsilon(1e-13));
  CHECK(zero_output_loss(v_prediction(none)) == doctest::Approx(l.alpha * l.alpha).epsilon(1e-13));
}

TEST_CASE("the normal quantile inverts the distribution function, in both tails") {
  CHECK(normal_quantile(0.5) == doctest::Approx(0).epsilon(1e-15));
  CHECK(normal_quantile(0.975) == doctest::Approx(1.959963984540054).epsilon(1e-14));
  CHECK(normal_quantile(1e-10) == doctest::Approx(-6.361340902404056).epsilon(1e-13));
  CHECK_THROWS_AS(normal_quantile(0), Error);
  CHECK_THROWS_AS(normal_quantile(1), Error);
}

TEST_CASE("impossible objectives are refused") {
  CHECK_THROWS_WITH_AS(mixed_objective(vp_linear(), 1.5), doctest::Contains("vlb_share"), Error);
  CHECK_THROWS_WITH_AS(mixed_objective(flow()), doctest::Contains("schedule.t_max"), Error);
  CHECK_THROWS_WITH_AS(likelihood_objective(flow()), doctest::Contains("schedule.t_max"), Error);
  CHECK_NOTHROW(mixed_objective(flow(1e-4, 0.999)));
  CHECK_NOTHROW(likelihood_objective(flow(1e-4, 0.999)));
  CHECK_THROWS_WITH_AS(vlb_objective(linear_chain(1)), doctest::Contains("at least 2"), Error);
  const Schedule zero = chain_from_betas("zero", zero_terminal_snr(linear_betas(9, 0.1, 0.2)));
  CHECK_THROWS_WITH_AS(vlb_objective(zero), doctest::Contains("zero_terminal_snr"), Error);
  CHECK_THROWS_AS(min_snr_objective(vp_linear(), 0), Error);
  CHECK_THROWS_WITH_AS(drawn_by_weight(edm_objective(edm()), edm()), doctest::Contains("own way"),
                       Error);
  CHECK_THROWS_WITH_AS(edm_objective(linear_chain()), doctest::Contains("is a chain"), Error);
  CHECK_THROWS_AS(edm_objective(edm(), 0, 0), Error);
}
