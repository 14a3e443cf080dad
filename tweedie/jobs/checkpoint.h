// Checkpoints: one file holds everything that continues a run, and nothing that differs between
// equal runs.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "tweedie/base/json.h"
#include "tweedie/base/log.h"

namespace tweedie {

struct Checkpoint {
  int64_t step = 0;
  Json config;  // the RunConfig, with the data's name but not its place on this machine
  Json data;    // shape, levels and classes of the data
  Json state;   // cursor, rate of the learning rate after roll-backs, sampler of t
  std::map<std::string, at::Tensor>
      tensors;  // "weights.NAME", "ema.RATE.NAME", "adam.m.NAME", "adam.v.NAME", kScheduleTable
};

/// A learned schedule as samplers and evaluators use it: gamma and its slope at even t, doubles [2,
/// knots].
inline constexpr const char* kScheduleTable = "schedule.gamma";

/// RUN/checkpoints/step-000001000.safetensors
std::string checkpoint_path(const std::string& run, int64_t step);

/// The run's checkpoints, newest first, whether intact or not.
std::vector<std::string> list_checkpoints(const std::string& run);

/// Writes it atomically (temporary name, fsync, rename), checksummed, then removes all but the
/// newest `keep`. Throws Error, leaving the earlier checkpoints untouched.
void save_checkpoint(const std::string& run, const Checkpoint& checkpoint, int64_t keep);

/// The same as a file of any name, which is a model file.
void write_checkpoint(const std::string& path, const Checkpoint& checkpoint);

/// Throws Error if the file is missing, damaged or not a checkpoint of ours.
Checkpoint load_checkpoint(const std::string& path);

/// The newest intact checkpoint of a run; damaged ones are named through `log` and passed over.
/// Empty if the run has none; throws Error if it has some and all are damaged.
std::optional<Checkpoint> newest_checkpoint(const std::string& run, const Log& log);

}  // namespace tweedie
