// What every sampler of the registry keeps to, and what the new ones refuse.
#include <doctest/doctest.h>

#include "tests/model/no_noise.h"
#include "tests/samplers/drawn.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/multistep.h"
#include "tweedie/samplers/single_step.h"
#include "tweedie/tensor/finite.h"

using namespace tweedie;
using namespace tweedie::testing;

TEST_CASE("every sampler makes the evaluations that the list says, for any number of steps") {
  for (const auto& [name, entry] : registry().samplers) {
    if (entry.facts.evaluations.per_step == 0) continue;  // chooses its own
    for (const int64_t steps : {1, 2, 3, 7, 20}) {
      CAPTURE(name);
      CAPTURE(steps);
      int64_t evaluations = 0;
      const Denoiser counted = [&](const Tensor& x, Levels levels, const Condition& condition) {
        ++evaluations;
        return mixture_denoiser(x, levels, condition);
      };
      const Path path = named_path(entry.facts.path, vp_linear(), steps);
      const Tensor start = keyed_prior(5, {0, 1, 2}, {2}).to(at::kDouble);
      const Tensor out = entry.make(without_clip(entry))(
          counted, start, path, {}, entry.facts.stochastic ? noise_of({0, 1, 2}) : no_noise(), {});
      CHECK(evaluations == entry.facts.evaluations.of(steps));
      CHECK(at::isfinite(out).all().item<bool>());
    }
  }
}

TEST_CASE("steps are the most that a number of evaluations allows, and the count has words") {
  const EvaluationCount heun{2, -1}, pndm{1, 0, 3, 3}, own{0};
  CHECK(heun.steps_within(10) == 5);
  CHECK(heun.of(5) == 9);
  CHECK(heun.words() == "2 N - 1");
  CHECK(pndm.steps_within(13) == 4);
  CHECK(pndm.words() == "N + 9");
  CHECK(EvaluationCount{5, 1}.steps_within(5) == 0);
  CHECK(own.steps_within(100) == 0);
  for (const auto& [name, entry] : registry().samplers) {
    const EvaluationCount& count = entry.facts.evaluations;
    if (count.per_step == 0) continue;
    CAPTURE(name);
    for (int64_t evaluations = 0; evaluations < 40; ++evaluations) {
      const int64_t steps = count.steps_within(evaluations);
      CHECK((steps == 0 || count.of(steps) <= evaluations));
      CHECK(count.of(steps + 1) > evaluations);
    }
  }
  CHECK(heun.steps_within(int64_t{1} << 60) == int64_t{1} << 59);  // at once
}

TEST_CASE("a sample of any sampler does not depend on its batch") {
  for (const auto& [name, entry] : registry().samplers) {
    CAPTURE(name);
    const Path path = named_path(entry.facts.path, vp_linear(0.1, 20, 1e-3), 6);
    const Sampler sampler = entry.make(without_clip(entry));
    std::vector<int64_t> many;
    for (int64_t i = 0; i < 256; ++i) many.push_back(i);
    const Tensor in_batch = drawn(sampler, path, many);
    for (const int64_t i : {0, 100, 255})
      CHECK(at::equal(in_batch[i], drawn(sampler, path, {i})[0]));
  }
}

TEST_CASE("samplers that need no signal start from pure noise, the others say what to do") {
  const Path path = named_path("auto", flow(), 12);
  for (const char* name :
       {"ddim", "euler", "heun", "flow-heun", "dpm++2s", "dpm++2m", "dpm++3m", "unipc",
        "consistency", "lms", "plms", "ipndm", "reverse-diffusion", "predictor-corrector"}) {
    CAPTURE(name);
    const SamplerEntry& entry = registry().samplers.at(name);
    CHECK(at::isfinite(drawn(entry.make(without_clip(entry)), path, {1, 2})).all().item<bool>());
  }
  for (const char* name : {"dpm-2", "deis", "dpm-adaptive", "euler-maruyama", "dpm++2m-sde"}) {
    CAPTURE(name);
    CHECK_THROWS_WITH_AS(drawn(registry().samplers.at(name).make(Json::object()), path, {1, 2}),
                         doctest::Contains("no signal"), Error);
  }
}

TEST_CASE("what a sampler shows stays as it was shown, is finite, and ends in its result") {
  const Path path = named_path("log-snr", vp_linear(0.1, 20, 1e-3), 6);
  for (const auto& [name, entry] : registry().samplers) {
    CAPTURE(name);
    const std::vector<int64_t> samples = {0, 1, 2};
    std::vector<Tensor> shown, copies;
    const Observer keep = [&](const Step& step) {
      for (const Tensor& x : {step.x, step.x0}) {
        shown.push_back(x);
        copies.push_back(x.clone());
      }
    };
    const Tensor start = path.front().sigma * keyed_prior(5, samples, {2}).to(at::kDouble);
    const Tensor out =
        entry.make(without_clip(entry))(mixture_denoiser, start, path, {}, noise_of(samples), keep);
    REQUIRE(shown.size() >= 2);
    CHECK(at::equal(shown[shown.size() - 2], out));
    for (size_t i = 0; i < shown.size(); ++i) {
      CHECK(at::equal(shown[i], copies[i]));
      CHECK(all_finite(shown[i]));
    }
  }
}

TEST_CASE("stages on the path's own levels evaluate at each of them, for any number") {
  for (const int64_t order : {2, 3})
    for (int64_t steps = 1; steps <= 8; ++steps) {
      CAPTURE(order);
      CAPTURE(steps);
      int64_t evaluations = 0;
      const Denoiser counted = [&](const Tensor& x, Levels levels, const Condition& condition) {
        ++evaluations;
        return mixture_denoiser(x, levels, condition);
      };
      const Path path = named_path("log-snr", vp_linear(0.1, 20, 1e-3), steps);
      single_step({.order = order, .stages = "path"})(
          counted, keyed_prior(5, {0}, {2}).to(at::kDouble), path, {}, no_noise(), {});
      CHECK(evaluations == steps);
    }
}

TEST_CASE("ddim takes the noise of what was clamped, or the network's own") {
  // eq. 12 of arXiv:2010.02502 with x0 = 3 clamped to 1.
  const Level t{1, 0.6, 0.8, 0, 0}, s{0.5, 0.8, 0.6, 0, 0};
  const Denoiser three = [](const Tensor& x, Levels, const Condition&) {
    return Prediction{at::full_like(x, 3), {}};
  };
  Path path{t};
  path.push_back(s);
  const Tensor x = at::full({1, 2}, 5.0, at::kDouble);
  const auto end = [&](const DdimOptions& options) {
    return ddim(options)(three, x, path, {}, no_noise(), {})[0][0].item<double>();
  };
  CHECK(end({.clip_noise = false}) ==
        doctest::Approx(0.8 * 1 + 0.6 * (5 - 0.6 * 3) / 0.8).epsilon(1e-12));
  CHECK(end({}) == doctest::Approx(0.8 * 1 + 0.6 * (5 - 0.6 * 1) / 0.8).epsilon(1e-12));
  CHECK(end({.clip = false}) ==
        doctest::Approx(0.8 * 3 + 0.6 * (5 - 0.6 * 3) / 0.8).epsilon(1e-12));
}

TEST_CASE("adaptive steps of a large sample do not depend on its batch") {
  constexpr int64_t kDims = 70'000;  // where a mean over a row takes another order of summation
  const Denoiser shrunk = [](const Tensor& x, Levels levels, const Condition&) {
    const Tensor share = per_example(
        levels, [](const Level& l) { return l.alpha / (l.alpha * l.alpha + l.sigma * l.sigma); },
        x);
    return Prediction{(share * x).tanh(), {}};
  };
  const Path path = named_path("log-snr", edm(0.05, 20), 2);
  for (const char* name : {"dpm-adaptive", "sde-adaptive"}) {
    CAPTURE(name);
    const auto drawn_of = [&](const std::vector<int64_t>& samples) {
      const Sampler sampler = registry().samplers.at(name).make({{"rtol", 0.02}, {"atol", 0.02}});
      return sampler(shrunk, 20 * keyed_prior(5, samples, {kDims}), path, {}, noise_of(samples),
                     {});
    };
    const Tensor in_batch = drawn_of({0, 1, 2, 3, 4});
    for (const int64_t i : {0, 4}) CHECK(at::equal(in_batch[i], drawn_of({i})[0]));
  }
}

TEST_CASE("adaptive steps meet their tolerance, and a budget too small is said") {
  const Path path = named_path("log-snr", edm(0.05, 20), 2);
  const SamplerEntry& entry = registry().samplers.at("dpm-adaptive");
  std::vector<int64_t> samples = {0, 1, 2, 3, 4, 5, 6, 7};
  const Tensor exact = drawn(registry().samplers.at("dpm-3").make(Json::object()),
                             named_path("log-snr", edm(0.05, 20), 400), samples);
  double last = 1;
  for (const double tolerance : {1e-2, 1e-4, 1e-6}) {
    const Tensor out = drawn(entry.make({{"rtol", tolerance}, {"atol", tolerance}}), path, samples);
    const double error = distance(out, exact);
    CHECK(error <= 20 * tolerance);
    CHECK(error < last);
    last = error;
  }
  CHECK_THROWS_WITH_AS(
      drawn(entry.make({{"rtol", 1e-9}, {"atol", 1e-9}, {"max_evaluations", 50}}), path, samples),
      doctest::Contains("raise rtol"), Error);
}

TEST_CASE("Langevin dynamics of step h leave N(0, 1) with variance 1 / (1 - h / 2)") {
  // At one level of unit noise around data at 0, taken a thousand times.
  const double h = 0.2;
  const Level level{1, 1, 1, 0, 1};
  const Denoiser zero = [](const Tensor& x, Levels, const Condition&) {
    return Prediction{at::zeros_like(x), {}};
  };
  const Sampler sampler =
      registry().samplers.at("annealed-langevin").make({{"corrections", 1}, {"step", h}});
  // The state is linear in its start and its draws, of which each has its own example.
  const int64_t rounds = 200;
  Tensor x = at::zeros({rounds + 1, 1}, f64());
  x[0] = 1;
  int64_t call = 0;
  const Noise each = [&](const Tensor& like, const Level&, const Level&) {
    Tensor z = at::zeros_like(like);
    z[1 + call++] = 1;
    return z;
  };
  for (int64_t i = 0; i < rounds; ++i) x = sampler(zero, x, {level, level}, {}, each, {});
  CHECK(x.square().sum().item<double>() == doctest::Approx(1 / (1 - h / 2)).epsilon(1e-10));
}

TEST_CASE("Langevin dynamics end in E[x_0 | x_t], or with noise_at_end in their last state") {
  const Path path = {{1, 1, 2, 0, 1}, {0.5, 1, 1, 0, 1}, clean};
  for (const bool stays : {false, true}) {
    CAPTURE(stays);
    int64_t evaluations = 0;
    const Denoiser fives = [&](const Tensor& x, Levels, const Condition&) {
      ++evaluations;
      return Prediction{at::full_like(x, 5), {}};
    };
    const Noise noise = [](const Tensor& like, const Level&, const Level&) {
      return at::ones_like(like);
    };
    const Sampler sampler = registry()
                                .samplers.at("annealed-langevin")
                                .make({{"corrections", 3}, {"noise_at_end", stays}});
    const double out = sampler(fives, at::zeros({1, 1}, f64()), path, {}, noise, {}).item<double>();
    CHECK(evaluations == (stays ? 6 : 7));
    CHECK((out == 5) == !stays);
  }
}

TEST_CASE("churn with the exact score leaves the marginals as they are, to first order") {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < 4000; ++i) samples.push_back(i);
  const Path path = named_path("karras", edm(0.01, 50), 60);
  const SamplerEntry& heun = registry().samplers.at("heun");
  const Tensor still = drawn(heun.make(Json::object()), path, samples),
               churned = drawn(heun.make({{"churn", 20}, {"churn_max", 40}}), path, samples);
  CHECK(distance(still, churned) > 0.1);
  CHECK(distance(still.mean(0), churned.mean(0)) <= 0.06);
  CHECK(distance(still.var(0, false), churned.var(0, false)) <= 0.06);
}

TEST_CASE("multistep takes an eta for every step, and only for every step") {
  const Path path = named_path("log-snr", vp_linear(0.1, 20, 1e-3), 4);
  const auto result = [&](MultistepOptions options) {
    return drawn(multistep(options), path, {3});
  };
  CHECK(at::equal(result({.eta = 1, .corrector = 2}),
                  result({.corrector = 2, .etas = {1, 1, 1, 1}})));
  CHECK_FALSE(at::equal(result({.etas = {1, 0, 1, 0}}), result({.etas = {1, 1, 1, 0}})));
  CHECK_THROWS_WITH_AS(result({.etas = {1, 0}}), "multistep: 2 etas for 4 steps", Error);
  CHECK_THROWS_WITH_AS(multistep({.etas = {-1}}), doctest::Contains("etas >= 0, got -1"), Error);
}

TEST_CASE("samplers name a wrong option, what was expected and what is near") {
  const auto made = [](const std::string& name, const Json& options) {
    return registry().samplers.at(name).make(options);
  };
  for (const auto& [name, options, message] :
       std::vector<std::tuple<std::string, Json, std::string>>{
           {"heun", {{"clock", "ratioo"}}, "did you mean 'ratio'?"},
           {"heun", {{"order", 3}}, "order 1 or 2"},
           {"heun", {{"churns", 3}}, "did you mean 'churn'?"},
           {"midpoint", {{"clock", "time"}}, "clock=ratio"},
           {"dpm++2m", {{"form", "x1"}}, "did you mean 'x0'?"},
           {"dpm++2m", {{"closure", "exakt"}}, "did you mean 'exact'?"},
           {"dpm++2m", {{"order", 9}}, "order of 1 to 6"},
           {"unipc", {{"corrector", 1}}, "2 predictions or more"},
           {"dpm-3", {{"order", 4}}, "order of 1 to 3"},
           {"dpm-3", {{"stages", "paths"}}, "did you mean 'path'?"},
           {"dpm++sde", {{"order", 3}}, "order 2"},
           {"lms", {{"order", 5}}, "order of 1 to 4"},
           {"lms", {{"start", "lowr"}}, "did you mean 'lower'?"},
           {"reverse-diffusion", {{"predictor", "ancestrel"}}, "did you mean 'ancestral'?"},
           {"reverse-diffusion", {{"size", "big"}}, "unknown size"},
           {"consistency", {{"fresh", 2}}, "[0, 1]"},
           {"dpm-adaptive", {{"rtol", 0}}, "above 0"}}) {
    CAPTURE(name);
    CHECK_THROWS_WITH_AS(made(name, options), doctest::Contains(message.c_str()), Error);
  }
}

TEST_CASE("orders that a program gives are of its solver") {
  CHECK_THROWS_WITH_AS(multistep({.orders = {1, 7}}), doctest::Contains("1 to 6, got 7"), Error);
  CHECK_THROWS_WITH_AS(single_step({.orders = {0}}), doctest::Contains("1 to 3, got 0"), Error);
}

TEST_CASE("a level that a path lists twice is said to be the trouble, not the weights") {
  Path path = named_path("log-snr", vp_linear(0.1, 20, 1e-3), 6);
  path[3] = path[2];
  for (const char* name : {"dpm++2m", "deis", "lms"}) {
    CAPTURE(name);
    CHECK_THROWS_WITH_AS(drawn(registry().samplers.at(name).make(Json::object()), path, {0}),
                         doctest::Contains("in a row are equal"), Error);
  }
}

TEST_CASE("solvers that choose levels say so where the path does not know its schedule") {
  const Path by_hand = {edm().at(20), edm().at(5), edm().at(1)};
  for (const char* name : {"dpm-2", "dpm-adaptive", "midpoint", "pndm"})
    CHECK_THROWS_WITH_AS(drawn(registry().samplers.at(name).make(Json::object()), by_hand, {0}),
                         doctest::Contains("does not know"), Error);
  CHECK_THROWS_WITH_AS(drawn(registry().samplers.at("heun").make({{"churn", 5}}), by_hand, {0}),
                       doctest::Contains("does not know"), Error);
}
