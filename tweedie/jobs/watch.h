// What training shows of itself on the way: the bound on held-out data, and samples.
#pragma once

#include <string>

#include "tweedie/jobs/model_file.h"

namespace tweedie {

/// A mean over held-out examples and its standard error, for each dimension.
struct HeldOutBound {
  double value, error;
  std::string unit;  // bits, or nats for continuous data
};

/// The bound on `config.watch.held_out` examples.
HeldOutBound held_out_bound(const Model& model, const Dataset& held_out);

/// A picture of `config.watch.samples` samples, always of the same noise, as
/// RUN/samples/step-STEP-NAME.png.
void write_sample_grid(const Model& model, const Registry& registry, const std::string& run,
                       int64_t step, const std::string& name);

}  // namespace tweedie
