// An image depends on its seed and number, not on its batch or the threads.
#include <ATen/Parallel.h>
#include <doctest/doctest.h>

#include "tests/jobs/toy_run.h"
#include "tweedie/jobs/sample.h"

using namespace tweedie;

namespace {

/// A U-Net for small gray images, as initialised, with nothing that begins at zero.
Model random_unet(const Registry& registry) {
  RunConfig config = small_config();
  config.model = {{"network", "unet"}, {"parameterisation", "v"}, {"variance", "small"},
                  {"channels", 16},    {"multipliers", {1, 2}},   {"layers_per_block", 1},
                  {"attention", {8}},  {"norm_num_groups", 8},    {"zero_init", false}};
  config.schedule = {{"name", "cosine"}};
  Model model = build_model(config, {.shape = {1, 16, 16}, .levels = 256}, registry);
  model.network->eval();
  return model;
}

Tensor images(const Model& model, const Registry& registry, const std::string& sampler,
              int64_t batch) {
  return sample(model, registry,
                {.count = 64, .sampler = sampler, .steps = 8, .seed = 3, .batch = batch})
      .x;
}

/// In steps of the 256 values that a picture has.
double distance_in_values(const Tensor& a, const Tensor& b) {
  return 127.5 * (a - b).abs().max().item<double>();
}

}  // namespace

TEST_CASE("an image is the same in batches of 1, 7 and 64 and on 1 and 2 threads, to 2 of 255") {
  const Registry registry = builtin();
  const Model model = random_unet(registry);
  const int threads = at::get_num_threads();
  for (const char* sampler : {"ddim", "ddpm", "dpm++2m", "heun"}) {
    CAPTURE(sampler);
    at::set_num_threads(1);
    const Tensor whole = images(model, registry, sampler, 64);
    CHECK(whole.abs().max().item<double>() > 0.1);
    for (const int64_t batch : {1, 7})
      CHECK(distance_in_values(images(model, registry, sampler, batch), whole) < 2);
    at::set_num_threads(2);
    CHECK(distance_in_values(images(model, registry, sampler, 64), whole) < 2);
  }
  at::set_num_threads(threads);
}
