// Models of other libraries, used as they come.
#pragma once

#include <string>

#include "tweedie/families/family.h"
#include "tweedie/jobs/model_file.h"
#include "tweedie/tensor/safetensors.h"

namespace tweedie {

/// Where the parts of such a model lie.
struct ForeignModel {
  Json network;         // its configuration
  Json scheduler;       // of the pipeline; null if there is none
  std::string weights;  // a file, or the index of several
  Family family;
  std::vector<std::string> notes;  // what of the scheduler is not followed
  RunConfig config;                // of ours
  DataShape data;
};

/// Whether `path` is a model folder or file of another library: not a run, not a checkpoint of
/// ours.
bool is_foreign_model(const std::string& path);

/// Reads the configuration, not the weights: a pipeline's folder (model_index.json), a model's
/// (config.json), or a file of weights beside a config.json.  `settings` are laid over the
/// configuration that follows, as a recipe would be.  Throws Error naming what is missing or not
/// supported.
ForeignModel open_foreign_model(const std::string& path, const Json& settings = Json::object());

/// With its weights; `log` hears of what of the scheduler is not followed.
Model load_foreign_model(const ForeignModel& source, const Registry& registry, const Log& log);

/// The tensors of a file: .safetensors, PyTorch's .bin, .pt and .pth, or the index of several
/// (model.safetensors.index.json).
TensorFile read_weights(const std::string& path);

}  // namespace tweedie
