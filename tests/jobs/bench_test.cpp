// What a benchmark measures, and what it refuses.
#include "tweedie/jobs/bench.h"
#include "tests/refusal.h"

#include <doctest/doctest.h>

using namespace tweedie;
using namespace tweedie::testing;

TEST_CASE("samplers of a program's own are timed as the built-in ones are") {
  Registry registry = builtin();
  int64_t runs = 0;
  registry.samplers["own"] = {{"two evaluations whatever the path", [&](const Json&) -> Sampler {
                                 return [&](const Denoiser& denoise, Tensor x, const Path& path,
                                            const Condition& condition, const Noise&,
                                            const Observer&) {
                                   ++runs;
                                   denoise(x, path.front(), condition);
                                   return denoise(x, path.front(), condition).x0;
                                 };
                               }}};
  const Json found = bench({.kind = "sample",
                            .net = "mlp-2d",
                            .batch = 2,
                            .seconds = 1e-6,
                            .sampler = "own",
                            .steps = 3},
                           registry, {});
  CHECK(runs == 2);  // one to warm up
  CHECK(found["evaluations"] == 2);
  CHECK(found["sampler_steps"] == 3);
}

TEST_CASE("a benchmark refuses what it would ignore or cannot do") {
  const auto refuse = [](const BenchRequest& request, const std::string& fault) {
    const std::string message = refusal([&] { bench(request, builtin(), {}); });
    CAPTURE(message);
    CHECK(says(message, fault));
  };
  refuse({.kind = "sample", .steps = 5}, "--steps 5: is for whole samplings");
  refuse({.kind = "sample", .sampler_options = {{"eta", 1}}}, "add --sampler NAME");
  refuse({.threads = 99'999'999'999}, "--threads: expected 1 to 4096");
  refuse({.kind = "train", .sampler = "ddim"}, "bench sample");
}
