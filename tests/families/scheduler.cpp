#include <doctest/doctest.h>

#include "tests/refusal.h"
#include "tweedie/base/error.h"
#include "tweedie/families/diffusers_scheduler.h"

using namespace tweedie;
using tweedie::testing::refusal;
using tweedie::testing::says;

TEST_CASE("a scheduler's process, prediction and solver are ours by another name") {
  const SchedulerReading ddpm = read_scheduler({{"_class_name", "DDPMScheduler"},
                                                {"num_train_timesteps", 1000},
                                                {"beta_start", 0.0001},
                                                {"beta_end", 0.02},
                                                {"beta_schedule", "linear"},
                                                {"variance_type", "fixed_large"},
                                                {"clip_sample", true}});
  CHECK(ddpm.schedule["name"] == "linear");
  CHECK(ddpm.parameterisation == "eps");
  CHECK(ddpm.variance == "large");
  CHECK(ddpm.sample["sampler"] == "ddpm");
  CHECK(ddpm.sample["steps"] == 1000);
  CHECK(ddpm.sample["options"]["clip"] == true);
  CHECK(ddpm.notes.empty());

  const SchedulerReading dpm = read_scheduler({{"_class_name", "DPMSolverMultistepScheduler"},
                                               {"beta_schedule", "squaredcos_cap_v2"},
                                               {"prediction_type", "v_prediction"},
                                               {"solver_order", 3},
                                               {"use_karras_sigmas", true}});
  CHECK(dpm.schedule["name"] == "cosine");
  CHECK(dpm.parameterisation == "v");
  CHECK(dpm.sample["sampler"] == "dpm++3m-customary");
  CHECK(dpm.sample["path"] == "karras");

  const SchedulerReading listed = read_scheduler({{"_class_name", "DDIMScheduler"},
                                                  {"trained_betas", {0.1, 0.2}},
                                                  {"num_train_timesteps", 2}});
  CHECK(listed.schedule["name"] == "betas");
  CHECK(listed.sample["steps"] == 2);
}

TEST_CASE(
    "fields that are not known or not followed are named, values that cannot be are refused") {
  const SchedulerReading odd = read_scheduler(
      {{"_class_name", "DDIMScheduler"}, {"thresholding", true}, {"new_in_2030", 3}});
  REQUIRE(odd.notes.size() == 2);
  CHECK(says(odd.notes[0], "'new_in_2030' = 3 is not known"));
  CHECK(says(odd.notes[1], "thresholding = true is not followed"));
  const auto fault = [](const Json& config) { return refusal([&] { read_scheduler(config); }); };
  CHECK(says(fault({{"_class_name", "DDIMSchedular"}}), "did you mean 'DDIMScheduler'"));
  CHECK(says(fault({{"_class_name", "DDIMScheduler"}, {"beta_schedule", "spiral"}}), "'spiral'"));
  CHECK(
      says(fault({{"_class_name", "DDIMScheduler"}, {"beta_start", "low"}}), "expected a number"));
  CHECK(says(fault({{"_class_name", "DDIMScheduler"}, {"num_train_timesteps", 0}}), "got 0"));
}

TEST_CASE("a chain of ours is written as a scheduler that reads back the same") {
  const std::vector<double> betas = {0.01, 0.02, 0.3};
  const SchedulerReading back = read_scheduler(write_scheduler(betas, "v", "0.30.0"));
  CHECK(back.schedule["betas"] == Json(betas));
  CHECK(back.parameterisation == "v");
  CHECK(back.sample["sampler"] == "ddim");
  CHECK(back.notes.empty());
  CHECK(
      says(refusal([&] { write_scheduler(betas, "score", "0.30.0"); }), "parameterisation=score"));
}
