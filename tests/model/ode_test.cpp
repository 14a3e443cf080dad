#include "tweedie/model/ode.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/model/mixture.h"
#include "tests/refusal.h"
#include "tweedie/base/error.h"
#include "tweedie/process/parameterisation.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

OdeOptions at_tolerance(double tolerance) {
  OdeOptions options;
  options.rtol = options.atol = tolerance;
  options.numerical_error = false;
  return options;
}

Schedule zero_terminal_chain() {
  return chain_from_betas("zero terminal", zero_terminal_snr(linear_betas(1000, 1e-4, 0.02)));
}

std::vector<Schedule> every_schedule() {
  return {vp_linear(),
          sub_vp(),
          ve(),
          edm(),
          cosine(),
          log_snr_linear(),
          linear_chain(1000),
          cosine_chain(200),
          flow(),
          zero_terminal_chain()};
}

Tensor gaussian_log_density(const Tensor& x, const Level& l) {
  const double var = marginal_var(l);
  return sum_over_dims(-0.5 * ((x - l.alpha * kMean).square() / var + std::log(var) +
                               std::log(2 * std::numbers::pi)));
}

/// What a perfect solver gives: the data's own density at t_min, with the prior's at t_max in place
/// of the data's.
Tensor expected_of_mixture(const LogProb& log_prob, const Tensor& x) {
  return mixture_log_density(x, log_prob.data) + log_prob.prior_nats -
         mixture_log_density(log_prob.latent, log_prob.noise);
}

/// The largest distance between the values' distribution and N(0, 1)'s.
double kolmogorov_smirnov(const Tensor& values) {
  const Tensor sorted = std::get<0>(values.flatten().sort());
  const Tensor cdf = at::special_ndtr(sorted);
  const double n = static_cast<double>(sorted.numel());
  const Tensor rank = at::arange(sorted.numel(), f64());
  return std::max(((rank + 1) / n - cdf).max().item<double>(),
                  (cdf - rank / n).max().item<double>());
}

}  // namespace

TEST_CASE("of Gaussian data the flow, its determinant and log p are the closed form") {
  const Tensor x = at::tensor({0.2, 0.9, -1.1, 1.7, 0.7, 0.7}, f64()).view({3, 2});
  for (const Schedule& schedule : every_schedule()) {
    CAPTURE(schedule.name);
    OdeOptions options = at_tolerance(1e-11);
    options.moments = {at::full({1}, kMean, f64()), at::full({1}, kVar, f64())};
    const LogProb got = ode_log_prob(exact_denoiser(), schedule, x, {}, options);
    const double ratio = marginal_var(got.noise) / marginal_var(got.data);
    const Tensor latent = got.noise.alpha * kMean + std::sqrt(ratio) * (x - got.data.alpha * kMean);
    CHECK(distance(got.latent, latent) <= 1e-8 * schedule.prior_std);
    CHECK(distance(got.log_det, at::full({3}, std::log(ratio), f64())) <= 1e-8);
    CHECK(distance(got.nats, normal_log_density(latent, schedule.prior_std) + std::log(ratio)) <=
          1e-8);
    CHECK(distance(got.nats + got.prior_mismatch, gaussian_log_density(x, got.data)) <= 1e-8);
  }
}

TEST_CASE("where a schedule ends in pure noise the flow stops before and says where") {
  const Tensor x = at::full({1, 1}, 0.4, f64());
  const LogProb of_flow = ode_log_prob(exact_denoiser(), flow(), x, {}, at_tolerance(1e-6)),
                of_chain = ode_log_prob(exact_denoiser(), zero_terminal_chain(), x, {},
                                        at_tolerance(1e-6)),
                plain = ode_log_prob(exact_denoiser(), vp_linear(), x, {}, at_tolerance(1e-6));
  CHECK(says(of_flow.note, "pure noise"));
  CHECK(is_near(of_flow.noise.sigma / of_flow.noise.alpha, 1e5, 1e-6 * 1e5));
  CHECK(says(of_chain.note, "t = 0.999"));
  CHECK(is_near(of_chain.noise.t, 0.999, 1e-9));
  CHECK(plain.note.empty());
}

TEST_CASE("a process that keeps its signal is integrated to its end, however noisy") {
  const Tensor x = at::full({1, 1}, 0.4, f64());
  const Schedule noisy = ve(0.01, 1e6);
  const LogProb got = ode_log_prob(exact_denoiser(), noisy, x, {}, at_tolerance(1e-8));
  CHECK(got.note.empty());
  CHECK(is_near(got.noise.sigma, 1e6, 1));
  CHECK(is_near(got.nats.item<double>(), gaussian_log_density(x, got.data).item<double>(), 1e-6));
}

TEST_CASE("log p of a mixture is within 5e-4 nats at tolerance 1e-5, and 1e-6 at 1e-8") {
  const Tensor x = mixture_points(100);
  for (const Schedule& schedule : {edm(0.01, 80), vp_linear(), cosine(), linear_chain(1000)}) {
    CAPTURE(schedule.name);
    const LogProb loose = ode_log_prob(mixture_denoiser, schedule, x, {}, at_tolerance(1e-5)),
                  tight = ode_log_prob(mixture_denoiser, schedule, x, {}, at_tolerance(1e-8));
    CHECK(distance(loose.nats, expected_of_mixture(loose, x)) <= 5e-4);
    CHECK(distance(tight.nats, expected_of_mixture(tight, x)) <= 1e-6);
    CHECK(loose.evaluations.max().item<int64_t>() <= 300);
  }
}

TEST_CASE("a point's log p is the same bits alone and in a batch of 256") {
  const Tensor x = mixture_points(256);
  for (const Divergence kind : {Divergence::exact, Divergence::rademacher}) {
    OdeOptions options = at_tolerance(1e-4);
    options.divergence = kind;
    options.probes = 2;
    const LogProb all = ode_log_prob(mixture_denoiser, vp_linear(), x, {}, options);
    for (const int64_t i : {0, 31, 255}) {
      options.samples = {i};
      const LogProb one =
          ode_log_prob(mixture_denoiser, vp_linear(), x.narrow(0, i, 1), {}, options);
      CHECK(at::equal(one.nats[0], all.nats[i]));
      CHECK(at::equal(one.latent[0], all.latent[i]));
      CHECK(at::equal(one.evaluations[0], all.evaluations[i]));
    }
  }
}

TEST_CASE("the change at ten times the tolerance bounds the error of the solver") {
  const Tensor x = mixture_points(200);
  OdeOptions options = at_tolerance(1e-5);
  options.numerical_error = true;
  const LogProb got = ode_log_prob(mixture_denoiser, edm(0.01, 80), x, {}, options);
  const Tensor error = (got.nats - expected_of_mixture(got, x)).abs();
  CHECK(error.max().item<double>() <= got.numerical_error.max().item<double>());
  CHECK(error.mean().item<double>() <= got.numerical_error.mean().item<double>());
  CHECK(got.numerical_error.max().item<double>() <= 1e-2);
  options.numerical_error = false;
  const LogProb once = ode_log_prob(mixture_denoiser, edm(0.01, 80), x, {}, options);
  CHECK_FALSE(once.numerical_error.defined());
  CHECK(once.evaluations.sum().item<int64_t>() < got.evaluations.sum().item<int64_t>());
}

TEST_CASE("probes scatter about the exact log p as their standard error says") {
  const Tensor x = mixture_points(6).narrow(0, 5, 1).repeat({400, 1});
  OdeOptions options = at_tolerance(1e-5);
  const LogProb exact = ode_log_prob(mixture_denoiser, vp_linear(), x.narrow(0, 0, 1), {}, options);
  CHECK(exact.probe_error.abs().max().item<double>() == 0);
  options.probes = 10;
  for (const Divergence kind : {Divergence::rademacher, Divergence::gaussian}) {
    options.divergence = kind;
    const LogProb got = ode_log_prob(mixture_denoiser, vp_linear(), x, {}, options);
    CHECK(got.per_probe.sizes() == at::IntArrayRef({400, 10}));
    CHECK(distance(got.per_probe.mean(1), got.nats) <= 1e-10);
    const Tensor off = got.nats - exact.nats;
    const double said = std::sqrt(got.probe_error.square().mean().item<double>()),
                 scatter = std::sqrt(off.square().mean().item<double>());
    CHECK(std::abs(off.mean().item<double>()) <= 3 * said / std::sqrt(400.0));
    CHECK(is_near(scatter / said, 1, 0.12));  // three standard errors of a scatter of 400
  }
  options.probes = 1;
  CHECK(at::isnan(ode_log_prob(mixture_denoiser, vp_linear(), x, {}, options).probe_error)
            .all()
            .item<bool>());
}

TEST_CASE("one Rademacher probe is exact where dimensions are independent") {
  const Tensor x = at::tensor({0.2, 0.9, -1.1, 1.7, 0.7, 0.1}, f64()).view({1, 6});
  OdeOptions options = at_tolerance(1e-8);
  const Tensor exact = ode_log_prob(exact_denoiser(), vp_linear(), x, {}, options).nats;
  options.divergence = Divergence::rademacher;
  CHECK(distance(ode_log_prob(exact_denoiser(), vp_linear(), x, {}, options).nats, exact) <= 1e-10);
}

TEST_CASE("encoded data is the prior, and decoding gives the data back") {
  const Tensor x = mixture_points(1000);
  for (const Schedule& schedule : {vp_linear(), edm(0.002, 80)}) {
    CAPTURE(schedule.name);
    const Level data = schedule.at(schedule.t_min);
    std::vector<int64_t> samples;
    for (int64_t i = 0; i < x.size(0); ++i) samples.push_back(i);
    const Tensor noisy =
        diffuse(x, data, keyed_normal({6, Stream::noise}, samples, 0, {2}).to(at::kDouble));
    const Tensor latent = ode_encode(mixture_denoiser, schedule, noisy, {}, at_tolerance(1e-5));
    // 1.63 / sqrt(n) is exceeded by one sample of the prior in a hundred.
    for (int64_t d = 0; d < 2; ++d)
      CHECK(kolmogorov_smirnov(latent.select(1, d) / schedule.prior_std) <=
            1.63 / std::sqrt(1000.0));
    const Tensor few = latent.narrow(0, 0, 50);
    const Tensor back = ode_decode(mixture_denoiser, schedule, few, {}, at_tolerance(1e-5)),
                 sharp = ode_decode(mixture_denoiser, schedule,
                                    ode_encode(mixture_denoiser, schedule, noisy.narrow(0, 0, 50),
                                               {}, at_tolerance(1e-9)),
                                    {}, at_tolerance(1e-9));
    CHECK(distance(back, noisy.narrow(0, 0, 50)) <= 2e-3);
    CHECK(distance(sharp, noisy.narrow(0, 0, 50)) <= 2e-7);
  }
}

TEST_CASE("log p of a generated point along its own way is that of the point") {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < 50; ++i) samples.push_back(i);
  const Tensor noise = 80 * keyed_normal({8, Stream::prior}, samples, 0, {2}).to(at::kDouble);
  const Schedule schedule = edm(0.01, 80);
  const DecodedLogProb made =
      ode_decode_log_prob(mixture_denoiser, schedule, noise, {}, at_tolerance(1e-7));
  const LogProb separate = ode_log_prob(mixture_denoiser, schedule, made.x, {}, at_tolerance(1e-7));
  CHECK(distance(made.log_prob.nats, separate.nats) <= 1e-5);
  CHECK(distance(made.log_prob.latent, noise) == 0);
  CHECK(distance(separate.latent, noise) <= 1e-3);
  CHECK(distance(made.x, ode_decode(mixture_denoiser, schedule, noise, {}, at_tolerance(1e-7))) <=
        1e-4);
}

TEST_CASE("a network in float32 gives log p to its own precision, and its weights no gradient") {
  struct Half : Network {
    Tensor weight = register_parameter("weight", at::full({1}, 0.5, at::kFloat));
    Tensor forward(const Tensor& x, const Tensor&, const Condition&) override {
      CHECK(x.is_floating_point());
      CHECK(x.element_size() == 4);
      return weight * x;
    }
  };
  const auto network = std::make_shared<Half>();
  const Denoiser denoiser = make_denoiser(network, x0_prediction([](const Level&) { return 0.0; }));
  const Tensor x = at::tensor({0.3f, -0.8f}).view({1, 2});
  const LogProb got = ode_log_prob(denoiser, edm(0.1, 10), x, {}, at_tolerance(1e-6));
  // dy/dl = y / 2: y grows by exp(l / 2), the determinant by exp(l) in two dimensions.
  const double l = std::log(100.0);
  CHECK(is_near(got.log_det[0].item<double>(), l, 1e-5));
  CHECK(distance(got.latent, x.to(at::kDouble) * std::exp(l / 2)) <= 1e-5 * std::exp(l / 2));
  CHECK_FALSE(network->weight.grad().defined());
}

TEST_CASE("an empty batch is said to be one") {
  const Tensor none = at::zeros({0, 2}, f64());
  for (const auto& act : std::vector<std::function<void()>>{
           [&] { ode_log_prob(mixture_denoiser, edm(), none, {}, at_tolerance(1e-3)); },
           [&] { ode_encode(mixture_denoiser, edm(), none, {}, at_tolerance(1e-3)); }})
    CHECK(says(refusal(act), "at least one, got shape [0, 2]"));
}

TEST_CASE("a partial log p leaves out the examples that use up their evaluations and names them") {
  const Tensor x = mixture_points(30);
  OdeOptions options = at_tolerance(1e-6);
  options.moments = {at::zeros({2}, f64()), at::ones({2}, f64())};
  const LogProb full = ode_log_prob(mixture_denoiser, edm(0.01, 80), x, {}, options);
  CHECK(full.unfinished.empty());
  options.max_evaluations = full.evaluations.median().item<int64_t>();
  const Tensor over = full.evaluations > options.max_evaluations;
  const int64_t missing = over.sum().item<int64_t>();
  REQUIRE(missing > 0);
  const std::string whole =
      refusal([&] { ode_log_prob(mixture_denoiser, edm(0.01, 80), x, {}, options); });
  CHECK(says(whole, std::to_string(missing) + " of 30 examples did not reach the end"));

  options.partial = true;
  const LogProb got = ode_log_prob(mixture_denoiser, edm(0.01, 80), x, {}, options);
  for (const Tensor& values : {got.nats, got.per_probe.select(1, 0), got.probe_error,
                               got.prior_mismatch, got.latent.select(1, 1)})
    CHECK(at::equal(values.isnan(), over));
  CHECK(at::equal(got.nats.masked_select(~over), full.nats.masked_select(~over)));
  CHECK(got.evaluations.max().item<int64_t>() <= options.max_evaluations);
  std::vector<int64_t> named;
  for (const auto& [example, reached] : got.unfinished) {
    named.push_back(example);
    CHECK(reached.t > 0.01);
    CHECK(reached.t < 80);
  }
  CHECK(at::equal(at::tensor(named, at::kLong), over.nonzero().flatten()));
  CHECK_THROWS_AS(ode_encode(mixture_denoiser, edm(0.01, 80), x, {}, options), Error);
  options.max_evaluations = 20;
  CHECK_THROWS_AS(ode_decode(mixture_denoiser, edm(0.01, 80), x, {}, options), Error);
  const DecodedLogProb back = ode_decode_log_prob(mixture_denoiser, edm(0.01, 80), x, {}, options);
  CHECK(back.log_prob.unfinished.size() == 30);
  CHECK(back.x.isnan().all().item<bool>());
  CHECK(back.log_prob.nats.isnan().all().item<bool>());
}

TEST_CASE("a rougher solve that does not reach the end leaves the numerical error unknown") {
  const Tensor x = mixture_points(1);
  OdeOptions options = at_tolerance(1e-5);
  options.max_evaluations = 200;
  const LogProb once = ode_log_prob(mixture_denoiser, vp_linear(), x, {}, options);
  int64_t left = once.evaluations[0].item<int64_t>();  // of the first solve; then it is hopeless
  const Denoiser tiring = [&left](const Tensor& x_t, Levels levels, const Condition& condition) {
    Prediction out = mixture_denoiser(x_t, levels, condition);
    if (left-- <= 0) out.x0 = out.x0 + 1e3 * std::sin(1e5 * levels[0].t);
    return out;
  };
  options.numerical_error = true;
  const LogProb got = ode_log_prob(tiring, vp_linear(), x, {}, options);
  CHECK(at::equal(got.nats, once.nats));
  CHECK(got.unfinished.empty());
  CHECK(got.numerical_error.isnan().all().item<bool>());
}

TEST_CASE("what cannot be solved is an error that says why and what to do") {
  const Tensor x = mixture_points(4);
  OdeOptions few = at_tolerance(1e-8);
  few.max_evaluations = 60;
  const std::string spent =
      refusal([&] { ode_log_prob(mixture_denoiser, vp_linear(), x, {}, few); });
  CHECK(says(spent, "4 of 4 examples did not reach the end within 60 evaluations"));
  CHECK(says(spent, "stopped at t = "));

  OdeOptions small = at_tolerance(1e-5);
  small.exact_limit = 1;
  const std::string large =
      refusal([&] { ode_log_prob(mixture_denoiser, vp_linear(), x, {}, small); });
  CHECK(says(large, "exact divergence of 2 dimensions"));
  CHECK(says(large, "rademacher"));

  const Denoiser broken = [](const Tensor& x_t, Levels levels, const Condition&) {
    const Tensor far = per_example(
        levels, [](const Level& l) { return l.t > 0.3 ? NAN : 1.0; }, x_t);
    return Prediction{exact_x0(x_t, levels) * far, {}};
  };
  const std::string bad =
      refusal([&] { ode_log_prob(broken, vp_linear(), x, {}, at_tolerance(1e-5)); });
  CHECK(says(bad, "of the batch is not finite at t = 0.3"));
  CHECK(says(bad, "sigma 0."));
}
