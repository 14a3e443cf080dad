#include <cmath>

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
  CHECK(read_scheduler({{"_class_name", "EDMEulerScheduler"}, {"sigma_data", 1.0}})
            .parameterisation_options["sigma_data"] == 1.0);
  CHECK(listed.sample["steps"] == 2);
}

TEST_CASE("a solver's order, its grid and what it clips are the scheduler's") {
  const SchedulerReading unipc = read_scheduler({{"_class_name", "UniPCMultistepScheduler"}});
  CHECK(unipc.sample["options"] == Json{{"order", 2}, {"corrector", 3}});
  CHECK(unipc.sample["path"] == "linspace+1");
  const SchedulerReading dpm = read_scheduler({{"_class_name", "DPMSolverMultistepScheduler"},
                                               {"timestep_spacing", "trailing"},
                                               {"lambda_min_clipped", "-Infinity"}});
  CHECK(dpm.sample["path"] == "trailing");
  CHECK(dpm.notes.empty());
  const SchedulerReading ddim = read_scheduler({{"_class_name", "DDIMScheduler"}});
  CHECK(ddim.sample["options"] == Json{{"clip", true}, {"clip_noise", false}});
  const SchedulerReading flow =
      read_scheduler({{"_class_name", "FlowMatchEulerDiscreteScheduler"}, {"max_shift", 1.15}});
  CHECK(flow.sample["path"] == "linspace");
  CHECK(flow.notes.empty());
  CHECK(says(refusal([] {
               read_scheduler({{"_class_name", "IPNDMScheduler"}});
             }),
             "is not supported"));
  for (const Json& other :
       {Json{{"_class_name", "PNDMScheduler"}}, Json{{"_class_name", "DEISMultistepScheduler"}},
        Json{{"_class_name", "DPMSolverSinglestepScheduler"}, {"solver_order", 3}},
        Json{{"_class_name", "DDIMScheduler"}, {"timestep_spacing", "linspace"}},
        Json{{"_class_name", "EulerDiscreteScheduler"}},
        Json{{"_class_name", "FlowMatchEulerDiscreteScheduler"}, {"use_karras_sigmas", true}},
        Json{{"_class_name", "DPMSolverMultistepScheduler"},
             {"timestep_spacing", "trailing"},
             {"solver_order", 3},
             {"algorithm_type", "dpmsolver"}}}) {
    CAPTURE(other.dump());
    CHECK(read_scheduler(other).notes.size() == 1);
  }
}

TEST_CASE(
    "fields that are not known or not followed are named, values that cannot be are refused") {
  const SchedulerReading odd = read_scheduler(
      {{"_class_name", "DDIMScheduler"}, {"thresholding", true}, {"new_in_2030", 3}});
  REQUIRE(odd.notes.size() == 2);
  CHECK(says(odd.notes[0], "thresholding = true is not followed"));
  CHECK(says(odd.notes[1], "new_in_2030 = 3 is not known"));
  const auto fault = [](const Json& config) { return refusal([&] { read_scheduler(config); }); };
  CHECK(says(fault({{"_class_name", "DDIMSchedular"}}), "did you mean 'DDIMScheduler'"));
  CHECK(says(fault({{"_class_name", "DDIMScheduler"}, {"beta_schedule", "spiral"}}), "'spiral'"));
  CHECK(
      says(fault({{"_class_name", "DDIMScheduler"}, {"beta_start", "low"}}), "expected a number"));
  CHECK(says(fault({{"_class_name", "DDIMScheduler"}, {"num_train_timesteps", 0}}), "got 0"));
  CHECK(says(fault({{"_class_name", "EDMEulerScheduler"}, {"prediction_type", "v_prediction"}}),
             "of EDMEulerScheduler is not supported"));
  CHECK(says(fault({{"_class_name", "DDPMScheduler"}, {"variance_type", "learned"}}),
             "learned_range"));
}

TEST_CASE("a chain of ours is written as a scheduler that reads back the same") {
  const std::vector<double> betas = {0.01, 0.02, 0.3};
  const SchedulerReading back =
      read_scheduler(write_scheduler({{"name", "betas"}}, betas, "v", "0.30.0"));
  CHECK(back.schedule["betas"] == Json(betas));
  CHECK(back.parameterisation == "v");
  CHECK(back.sample["sampler"] == "ddim");
  CHECK(back.notes.empty());
  CHECK(says(refusal([&] { write_scheduler(Json::object(), betas, "score", "0.30.0"); }),
             "parameterisation=score"));
}

TEST_CASE("a chain that diffusers has by name is written by its name") {
  const Json written =
      write_scheduler({{"name", "linear"}, {"steps", 3}}, {0.01, 0.015, 0.02}, "eps", "0.30.0");
  CHECK(written["beta_schedule"] == "linear");
  CHECK(written["trained_betas"].is_null());
  const SchedulerReading back = read_scheduler(written);
  CHECK(back.schedule["name"] == "linear");
  CHECK(back.schedule["beta_end"] == 0.02);
}

TEST_CASE("betas for floats: alpha_bar in float32 is that of doubles") {
  std::vector<double> wanted;  // -log SNR from -13.3 to 5
  for (int k = 0; k <= 1000; ++k) wanted.push_back(1 / (1 + std::exp(-13.3 + 18.3 * k / 1000)));
  double product = 1, off = 0;
  size_t k = 0;
  for (const double beta : betas_for_floats(wanted)) {
    CHECK(beta > 0);
    CHECK(static_cast<double>(static_cast<float>(beta)) == beta);
    product *= 1 - beta;
    const double single = static_cast<float>(product);
    CHECK(std::abs((1 - single) / (1 - product) - 1) < 1e-3);
    off = std::max(off, std::abs(std::log((1 - product) / (1 - wanted[k++]))));
  }
  CHECK(off < 0.2);  // of log-SNR, where sigma is below 0.002
  CHECK(std::abs(product / wanted.back() - 1) < 1e-5);
}

TEST_CASE("score SDE's VE process is read in the units of data in [-1, 1]") {
  const SchedulerReading read = read_scheduler({{"_class_name", "ScoreSdeVeScheduler"},
                                                {"num_train_timesteps", 1000},
                                                {"sigma_min", 0.01},
                                                {"sigma_max", 50.0},
                                                {"snr", 0.2},
                                                {"sampling_eps", 1e-5}});
  CHECK(read.schedule == Json{{"name", "ve"}, {"sigma_min", 0.02}, {"sigma_max", 100.0}});
  CHECK(read.parameterisation_options == Json{{"data_scale", 2.0}});
  CHECK(read.unit_data);
  CHECK(read.sample["steps"] == 1000);
  CHECK(read.sample["options"]["snr"] == 0.2);
  CHECK(read.notes.empty());
}
