// Models in from other libraries, and out to them.
#pragma once

#include <string>

#include "tweedie/jobs/model_file.h"

namespace tweedie {

struct ExchangeReport {
  std::string family;      // "diffusers UNet2DModel"
  int64_t parameters = 0;  // values
  double largest = 0;      // absolute value of the network's output on test inputs
  double difference = 0;   // between the two networks' outputs on them, at most
  std::vector<std::string> notes;
};

/// Converts a model of another library (foreign_model.h) into one file of ours, with `settings`
/// laid over its configuration; then compares the two.  Throws Error.
ExchangeReport import_model(const std::string& path, const std::string& out, const Json& settings,
                            const Registry& registry);

/// Writes a model as a folder of diffusers (a DDIMPipeline), or an imported one as its own
/// library's, then loads it and compares.  The folder must not exist; it is there whole or not at
/// all.  Throws Error naming the option that the other library has no counterpart of.
ExchangeReport export_model(const Model& model, const std::string& folder,
                            const Registry& registry);

}  // namespace tweedie
