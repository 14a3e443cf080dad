#include <doctest/doctest.h>

#include "tests/model/gaussian.h"
#include "tests/model/moments.h"
#include "tests/model/no_noise.h"
#include "tweedie/base/error.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/ddpm.h"
#include "tweedie/samplers/ode.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// A mixture of N(-1, 0.04) and N(1, 0.04), whose denoiser is no straight line.
Prediction mixture(const Tensor& x_t, Levels levels, const Condition&) {
  const Tensor alpha = per_example(
      levels, [](const Level& l) { return l.alpha; }, x_t);
  const Tensor var = per_example(
      levels, [](const Level& l) { return 0.04 * l.alpha * l.alpha + l.sigma * l.sigma; }, x_t);
  const Tensor centre = at::tanh(alpha * x_t / var);
  return {centre + 0.04 * alpha / var * (x_t - alpha * centre), {}};
}

Tensor draws(std::vector<int64_t> samples) {
  return keyed_normal({3, Stream::prior}, samples, 0, {4}).to(at::kDouble);
}

}  // namespace

TEST_CASE("ancestral sampling with the true variances makes the data's mean and variance") {
  for (const Path& path : {chain_path(linear_chain(1000)), sampling_path(cosine_chain(1000), 50),
                           sampling_path(vp_linear(), 30)}) {
    const Level first = without_clean(path).back();
    // The last step has no noise, so that it gives E[x_0 | x_1].
    const double expected = kVar - x0_var(first);
    const Moments learned =
        moments_of(ddpm({"learned", false}), exact_denoiser_with_variance(path), path);
    CHECK(is_near(learned.mean, kMean, 1e-10));
    CHECK(is_near(learned.var, expected, 1e-10));
    const Moments analytic = moments_of(ddpm({"analytic", false, x0_var}), exact_denoiser(), path);
    CHECK(is_near(analytic.var, expected, 1e-10));
  }
}

TEST_CASE("the small variance makes too narrow a distribution, the large one too wide") {
  const Path path = sampling_path(linear_chain(1000), 50);
  const double exact = kVar - x0_var(without_clean(path).back());
  CHECK(moments_of(ddpm({"small", false}), exact_denoiser(), path).var < exact - 1e-3);
  CHECK(moments_of(ddpm({"large", false}), exact_denoiser(), path).var > exact + 1e-3);
}

TEST_CASE("ddim is Euler's method for sigma / alpha in the variable x / alpha") {
  const Path path = sampling_path(vp_linear(), 40);
  const Tensor start = draws({1, 2, 3});
  const Tensor out = ddim({0, false})(mixture, start, path, {}, no_noise(), {});
  Tensor y = start / path[0].alpha;
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    const double noise = path[i].sigma / path[i].alpha,
                 next = path[i + 1].sigma / path[i + 1].alpha;
    y = y + (next - noise) / noise * (y - mixture(path[i].alpha * y, path[i], {}).x0);
  }
  CHECK(distance(out, y) <= 1e-12);  // rounding of 40 steps from y of order 100
}

TEST_CASE("ddim converges to the exact flow with order 1") {
  const Schedule schedule = vp_linear();
  const Tensor start = at::tensor({-1.0, 0.3, 2.0}, f64()).view({3, 1});
  double last = 0;
  for (const int64_t steps : {40, 80, 160, 320}) {
    const Path path = log_snr_path(schedule, steps);
    const Level &end = path.front(), &first = path.back();
    const Tensor exact = first.alpha * kMean + std::sqrt(marginal_var(first) / marginal_var(end)) *
                                                   (start - end.alpha * kMean);
    const double error =
        distance(ddim({0, false})(exact_denoiser(), start, path, {}, no_noise(), {}), exact);
    if (last > 0) CHECK(is_near(std::log2(last / error), 1, 0.2));
    last = error;
  }
}

TEST_CASE("ddim from data to noise finds the noise that gives the data back") {
  const Schedule chain = linear_chain(2000);
  const Path path = without_clean(chain_path(chain));
  const Path rising(path.rbegin(), path.rend());
  const Tensor x = at::tensor({-1.3, -0.9, 0.2, 1.1}, f64()).view({4, 1});
  const Tensor noise = ddim({.clip = false})(mixture, x, rising, {}, no_noise(), {});
  CHECK(distance(noise, x) > 0.1);
  const Tensor back = ddim({.clip = false})(mixture, noise, path, {}, no_noise(), {});
  CHECK(distance(back, x) <= 0.02);  // both ways have an error of order 1 / T
  // To pure noise: the last state is the eps of the one before.
  Path whole = rising;
  whole.push_back({1, 0, 1, NAN, NAN});
  const Tensor eps = eps_from_x0(noise, mixture(noise, path.front(), {}).x0, path.front());
  CHECK(distance(ddim({.clip = false})(mixture, x, whole, {}, no_noise(), {}), eps) <= 1e-12);
  CHECK_THROWS_WITH_AS(ddim({.eta = 1, .clip = false})(mixture, x, rising, {}, no_noise(), {}),
                       doctest::Contains("eta = 0"), Error);
}

TEST_CASE("ddim with eta 1 is ddpm with the small variance") {
  for (const Path& path : {chain_path(linear_chain(60)), sampling_path(linear_chain(1000), 25),
                           sampling_path(flow(), 12)}) {
    const Tensor start = draws({5, 6});
    const Tensor a = ddim({1, false})(mixture, start, path, {}, keyed_noise(8, {5, 6}), {});
    const Tensor b = ddpm({"small", false})(mixture, start, path, {}, keyed_noise(8, {5, 6}), {});
    CHECK(distance(a, b) <= 1e-11);
  }
}

TEST_CASE("ddim of any eta keeps the marginals as steps are added") {
  for (const double eta : {0.0, 0.5, 1.0}) {
    const Path coarse = chain_path(linear_chain(100)), fine = chain_path(linear_chain(1000));
    const double off_coarse =
        std::abs(moments_of(ddim({eta, false}), exact_denoiser(), coarse).var - kVar);
    const double off_fine =
        std::abs(moments_of(ddim({eta, false}), exact_denoiser(), fine).var - kVar);
    CHECK(off_fine < 0.25 * off_coarse);
    CHECK(off_fine < 0.02);
  }
}

TEST_CASE("a seed gives the same sample alone and in a batch") {
  const Path path = sampling_path(linear_chain(1000), 20);
  for (const Sampler& sampler : {ddpm(), ddpm({"small", true}), ddim({0.7, true})}) {
    const Tensor batch =
        sampler(mixture, draws({9, 4, 7}), path, {}, keyed_noise(11, {9, 4, 7}), {});
    const Tensor alone = sampler(mixture, draws({4}), path, {}, keyed_noise(11, {4}), {});
    CHECK(at::equal(batch[1], alone[0]));
    const Tensor other = sampler(mixture, draws({4}), path, {}, keyed_noise(12, {4}), {});
    CHECK_FALSE(at::equal(other, alone));
  }
}

TEST_CASE(
    "samplers leave the caller's tensor alone, show every step, and add no noise into clean data") {
  const Path path = sampling_path(linear_chain(1000), 6);
  for (const Sampler& sampler : {ddpm({"large", false}), ddim({1, false})}) {
    const Tensor start = draws({1, 2}), copy = start.clone();
    std::vector<Step> steps;
    const Noise noise = [&](const Tensor& like, const Level&, const Level& to) {
      CHECK(to.sigma > 0);
      return at::ones_like(like);
    };
    const Tensor out =
        sampler(mixture, start, path, {}, noise, [&](const Step& step) { steps.push_back(step); });
    CHECK(at::equal(start, copy));
    REQUIRE(steps.size() == 6);
    for (size_t i = 0; i < 6; ++i) {
      CHECK(steps[i].index == static_cast<int64_t>(i));
      CHECK(steps[i].from.t == path[i].t);
      CHECK(steps[i].to.t == path[i + 1].t);
    }
    CHECK(at::equal(steps[0].x0, mixture(start, path[0], {}).x0));
    CHECK(at::equal(steps[5].x, out));
    CHECK(distance(out, steps[5].x0) <= 1e-14);  // the last step ends at the prediction
    CHECK_FALSE(out.requires_grad());
  }
}

TEST_CASE("the predicted x0 is clamped where asked, so is the sample") {
  const Denoiser wild = [](const Tensor& x_t, Levels, const Condition&) {
    return Prediction{at::full_like(x_t, 3.0), {}};
  };
  const Path path = sampling_path(linear_chain(1000), 5);
  for (const Sampler& sampler : {ddpm(), ddim()})
    CHECK(sampler(wild, draws({1}), path, {}, keyed_noise(1, {1}), {}).max().item<double>() <= 1);
  CHECK(is_near(ddim({0, false})(wild, draws({1}), path, {}, no_noise(), {}).max().item<double>(),
                3, 1e-14));
}

TEST_CASE(
    "without being told, ddpm takes the learned variance where there is one and the large one "
    "elsewhere") {
  const Path path = sampling_path(linear_chain(1000), 10);
  const auto run = [&](const char* variance, const Denoiser& denoiser) {
    return ddpm({variance, false})(denoiser, draws({1}), path, {}, keyed_noise(1, {1}), {});
  };
  CHECK(at::equal(run("auto", exact_denoiser_with_variance(path)),
                  run("learned", exact_denoiser_with_variance(path))));
  CHECK(at::equal(run("auto", exact_denoiser()), run("large", exact_denoiser())));
  CHECK_FALSE(at::equal(run("learned", exact_denoiser_with_variance(path)),
                        run("large", exact_denoiser())));
}

TEST_CASE("a state that is not finite is an error that names the sampler, the step and its level") {
  const Path path = sampling_path(linear_chain(1000), 5);
  const Denoiser breaks = [&](const Tensor& x_t, Levels levels, const Condition&) {
    return Prediction{levels[0].t == path[2].t ? x_t / 0.0 * 0.0 : at::zeros_like(x_t), {}};
  };
  CHECK_THROWS_WITH_AS(
      ddpm({"small", false})(breaks, draws({1}), path, {}, keyed_noise(1, {1}), {}),
      doctest::Contains("ddpm: the state is not finite after step 3 at t = 0.6"), Error);
  CHECK_THROWS_WITH_AS(ddim({0, false})(breaks, draws({1}), path, {}, no_noise(), {}),
                       doctest::Contains("ddim: the state is not finite after step 3 at t = 0.6"),
                       Error);
}

TEST_CASE("samplers refuse options that mean nothing") {
  CHECK_THROWS_AS(ddim({-0.1, true}), Error);
  CHECK_THROWS_AS(ddim({1.5, true}), Error);
  CHECK_THROWS_AS(ddim({std::nan(""), true}), Error);
  CHECK_THROWS_WITH_AS(ddpm({"smal", true}), doctest::Contains("small"), Error);
  CHECK_THROWS_AS(ddpm({"analytic", true}), Error);
  const Path path = sampling_path(linear_chain(10), 5);
  CHECK_THROWS_AS(
      ddpm({"learned", true})(exact_denoiser(), draws({1}), path, {}, keyed_noise(1, {1}), {}),
      Error);
}

TEST_CASE("recorded noise is given in order and runs out") {
  const Noise noise = recorded_noise({at::full({1, 1}, 1.0f), at::full({1, 1}, 2.0f)});
  const Tensor like = at::zeros({1, 1}, f64());
  CHECK(noise(like, clean, clean).item<double>() == 1);
  CHECK((noise(like, clean, clean).scalar_type() == at::kDouble));
  CHECK_THROWS_WITH_AS(noise(like, clean, clean), doctest::Contains("used up"), Error);
}

TEST_CASE("keyed noise is step n of each sample's stream, and of the batch it was made for") {
  const Noise noise = keyed_noise(5, {3, 1});
  const Tensor like = at::zeros({2, 6}, at::kFloat);
  for (int64_t step = 0; step < 3; ++step)
    CHECK(at::equal(noise(like, clean, clean),
                    keyed_normal({5, Stream::sampling}, {3, 1}, step, {6})));
  CHECK_THROWS_AS(noise(at::zeros({3, 6}), clean, clean), Error);
}

TEST_CASE("the prior of a sample is its own, as wide as asked") {
  const Tensor batch = keyed_prior(5, {3, 1}, {2, 3}), alone = keyed_prior(5, {1}, {2, 3}, 80);
  CHECK(batch.sizes() == at::IntArrayRef({2, 2, 3}));
  CHECK(at::equal(alone[0], 80 * batch[1]));
}

TEST_CASE("the adaptive flow gives the exact flow's samples, whatever the steps of the path") {
  for (const Schedule& schedule : {vp_linear(), edm(), linear_chain(1000), cosine_chain(200)}) {
    CAPTURE(schedule.name);
    const Tensor start = schedule.prior_std * at::tensor({0.3, -1.2, 2.0, 0.1}, f64()).view({2, 2});
    for (const int64_t steps : {2, 9}) {
      Path path = karras_path(schedule, steps);
      path.pop_back();
      const Level &from = path.front(), &to = path.back();
      const double gain = std::sqrt(marginal_var(to) / marginal_var(from));
      const Tensor exact = to.alpha * kMean + gain * (start - from.alpha * kMean);
      const Sampler sampler = ode({.rtol = 1e-9, .atol = 1e-9});
      CHECK(distance(sampler(exact_denoiser(), start, path, {}, no_noise(), {}), exact) <= 1e-6);
      path.push_back(clean);
      CHECK(distance(sampler(exact_denoiser(), start, path, {}, no_noise(), {}),
                     exact_x0(exact, to)) <= 1e-6);
    }
  }
}

TEST_CASE("the adaptive flow begins in pure noise, and says where it has no levels or budget") {
  const Path path = sampling_path(flow(), 20);
  const Tensor start = at::tensor({0.3, -1.2}, f64()).view({2, 1});
  // The flow of Gaussian data from alpha = 0: x_t = alpha mean + std_t z.
  const Level last = path[path.size() - 2];
  const Tensor exact = last.alpha * kMean + std::sqrt(marginal_var(last)) * start;
  int64_t seen = 0;
  const Observer count = [&](const Step& step) { CHECK(step.index == seen++); };
  const Tensor x0 = ode({})(exact_denoiser(), start, path, {}, no_noise(), count);
  CHECK(seen == 3);
  CHECK(distance(x0, exact_x0(exact, last)) <= 0.05);  // ddim's first step, of a twentieth of t
  Path by_hand = path;
  by_hand.between = {};
  CHECK_THROWS_AS(ode({})(exact_denoiser(), start, by_hand, {}, no_noise(), {}), Error);
  CHECK_THROWS_AS(ode({.rtol = 1e-10, .atol = 1e-10, .max_evaluations = 20})(
                      exact_denoiser(), start, path, {}, no_noise(), {}),
                  Error);
  CHECK_THROWS_AS(ode({.rtol = 0}), Error);
}
