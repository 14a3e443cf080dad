// scheduler_config.json of diffusers: which process a model was trained for, and how it is sampled.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/json.h"

namespace tweedie {

struct SchedulerReading {
  Json schedule;                   // as in our configuration
  std::string parameterisation;    // eps, x0, v or velocity
  std::string variance = "large";  // of ancestral sampling
  Json sample;                     // sampler, its options, steps and path
  std::vector<std::string>
      notes;  // fields that are not known, or not followed: for the user to read
};

/// Throws Error, naming the field, on a scheduler or a value that is not supported.
SchedulerReading read_scheduler(const Json& config);

/// DDIMScheduler's configuration of a chain with these betas; `prediction` is our parameterisation.
/// Throws Error if diffusers has none like it.
Json write_scheduler(const std::vector<double>& betas, const std::string& prediction,
                     const std::string& version);

}  // namespace tweedie
