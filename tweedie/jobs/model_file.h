// A trained model as the jobs use it: built from a configuration, loaded from a run, a checkpoint
// or a model file.
#pragma once

#include <memory>
#include <string>

#include "tweedie/jobs/checkpoint.h"
#include "tweedie/jobs/config.h"
#include "tweedie/model/learned_schedule.h"
#include "tweedie/model/vlb.h"
#include "tweedie/registry.h"

namespace tweedie {

/// What of the data a model must know to be built and used without it.
struct DataShape {
  std::vector<int64_t> shape;  // of one example
  int64_t levels = 0;          // 256 for 8-bit images, 0 for continuous data
  std::vector<std::string> classes;
  Json columns = Json::array();  // of a table, see Dataset
  template <class Visit>
  void fields(Visit&& visit) {
    visit("shape", shape, "");
    visit("levels", levels, "");
    visit("classes", classes, "");
    visit("columns", columns, "");
  }
};

struct Model {
  RunConfig config;
  DataShape data;
  std::shared_ptr<Network> network;
  Schedule schedule;                     // where it is learned: as it is now, frozen
  std::shared_ptr<MonotoneGamma> gamma;  // schedule.name=learned: part of `network`; else empty
  Parameterisation parameterisation;
  Denoiser denoiser;  // bare: what log-probabilities are computed with
  Variance variance;
  int64_t step = 0;     // optimiser steps behind the weights
  std::string weights;  // "raw", "ema.0.9999", ...
};

/// CRC-32 of the weights in use, 8 hex digits.
std::string fingerprint(const Model& model);

/// The model that a configuration describes, with weights that are still to be set.  Throws Error
/// where the options do not fit each other or the data.
Model assemble_model(const RunConfig& config, const DataShape& data, const Registry& registry);

/// The model that a configuration describes, with freshly initialised weights drawn from
/// `train.seed`.
Model build_model(const RunConfig& config, const DataShape& data, const Registry& registry);

/// `path` is a run folder (its newest intact checkpoint; `log` hears of damaged ones), a
/// checkpoint, or a model of another library (foreign_model.h).  `weights` is "ema" (the slowest
/// average kept), "ema.0.999" or "raw".  The network is in evaluation mode; a learned schedule is
/// the table in the file.  Throws Error.
Model load_model(
    const std::string& path, const Registry& registry, const std::string& weights = "ema",
    torch::Device device = torch::kCPU, const Log& log = [](const std::string&) {});

}  // namespace tweedie
