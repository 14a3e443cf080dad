#include <doctest/doctest.h>

#include "tests/samplers/drawn.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

TEST_CASE("every sampler draws the mixture's mean from each kind of process") {
  const Tensor mean = (mixture_weights().unsqueeze(1) * mixture_means()).sum(0);
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < 2000; ++i) samples.push_back(i);
  for (const auto& [name, entry] : registry().samplers)
    for (const Schedule& schedule :
         {linear_chain(1000), vp_linear(0.1, 20, 1e-3), edm(0.01, 50), cosine()}) {
      if (name == "consistency" || name == "annealed-langevin") continue;  // biased by design
      const bool needs_tangent = name == "euler-maruyama" || name.starts_with("flow-");
      if (needs_tangent && schedule.steps > 0) continue;
      if (name == "euler-maruyama" && schedule.name == "edm") continue;  // uneven steps of sigma
      CAPTURE(name);
      CAPTURE(schedule.name);
      const int64_t steps = entry.facts.order.starts_with("1") ? 200 : 40;
      const Path path =
          named_path(entry.facts.path == "time" && schedule.steps > 0 ? "auto" : entry.facts.path,
                     schedule, steps);
      Tensor start = schedule.prior_std * keyed_prior(5, samples, {2}).to(at::kDouble);
      Json options = without_clip(entry);
      // Norms of two numbers are often small, and a step of their ratio then huge.
      if (name == "predictor-corrector") options = {{"size", "sigma"}, {"step", 0.05}};
      const Tensor out =
          entry.make(options)(mixture_denoiser, start, path, {}, noise_of(samples), {});
      const double off = distance(out.mean(0), mean);
      CHECK(off <= 0.06);  // 3 standard errors are 0.05
    }
}

TEST_CASE("adaptive steps of the SDE draw the data's moments, and a budget too small is said") {
  const SamplerEntry& entry = registry().samplers.at("sde-adaptive");
  const Path path = named_path("log-snr", vp_linear(0.1, 20, 1e-3), 2);
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < 2000; ++i) samples.push_back(i);
  const Tensor start = keyed_prior(5, samples, {1}).to(at::kDouble);
  for (const double tolerance : {0.01, 0.001}) {
    const Tensor out = entry.make({{"rtol", tolerance}, {"atol", tolerance}})(
        exact_denoiser(), start, path, {}, noise_of(samples), {});
    const double off = std::abs(out.var().item<double>() - kVar);
    CHECK(off <= (tolerance > 0.005 ? 0.04 : 0.03));  // 3 standard errors are 0.03
    CHECK(std::abs(out.mean().item<double>() - kMean) <= 0.05);
  }
  CHECK_THROWS_WITH_AS(entry.make({{"rtol", 0}, {"atol", 1e-6}, {"max_evaluations", 60}})(
                           exact_denoiser(), start, path, {}, noise_of(samples), {}),
                       doctest::Contains("raise rtol"), Error);
}
