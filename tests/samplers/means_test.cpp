#include <doctest/doctest.h>

#include "tests/samplers/drawn.h"

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
