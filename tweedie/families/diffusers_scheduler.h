// scheduler_config.json of diffusers: which process a model was trained for, and how it is sampled.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/json.h"

namespace tweedie {

struct SchedulerReading {
  Json schedule;                 // as in our configuration
  std::string parameterisation;  // by its name
  Json parameterisation_options = Json::object();
  std::string variance = "large";  // of ancestral sampling
  bool unit_data = false;          // the network's data are in [0, 1], not in [-1, 1]
  Json sample;                     // sampler, its options, steps and path
  std::vector<std::string>
      notes;  // fields that are not known, or not followed: for the user to read
};

/// Throws Error, naming the field, on a scheduler or a value that is not supported.
SchedulerReading read_scheduler(const Json& config);

/// DDIMScheduler's configuration of a process: by name where diffusers has that chain (`schedule`
/// as in our configuration), else by the chain's betas.  `prediction` is our parameterisation.
/// Throws Error if diffusers has none like it.
Json write_scheduler(const Json& schedule, const std::vector<double>& betas,
                     const std::string& prediction, const std::string& version);

/// Betas of a chain with these alpha_bar, or nearly: multiples of 2^-24, so that alpha_bar as
/// float32, which is what diffusers keeps, is the same to its last bits.  Where less noise is added
/// than that can say, the chain runs ahead until it can.
std::vector<double> betas_for_floats(const std::vector<double>& alpha_bar);

}  // namespace tweedie
