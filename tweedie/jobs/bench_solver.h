// What a sampler costs beside its network.
#pragma once

#include <string>
#include <vector>

#include "tweedie/jobs/model_file.h"

namespace tweedie {

struct SolverRun {
  std::string sampler;
  Json options = Json::object();
  int64_t steps = 20;
  int64_t batch = 16;
  std::string precision = "fp32";
  double seconds = 10;  // measured for at least so long, and at least once
};

/// One sampling from noise to data: its path, its noise, its arithmetic and the network.
struct SolverTime {
  double seconds, network_seconds;
  int64_t evaluations;
};

/// Samplings of a model, timed one by one after a few steps that are not.  Throws Error on an
/// unknown sampler or more steps than the chain has.
std::vector<SolverTime> time_solver(const Model& model, const Registry& registry,
                                    const SolverRun& run);

}  // namespace tweedie
