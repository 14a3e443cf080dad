// How probable data is under a model, with error bars.
#pragma once

#include "tweedie/jobs/model_file.h"

namespace tweedie {

struct EvaluateRequest {
  int64_t limit = 0;  // examples, evenly spread over the data; 0: all
  int64_t path_steps =
      0;  // levels of the bound's path; 0: the chain's own T, or 1000 on a continuous schedule
  int64_t terms = 0;          // levels drawn per example; 0: every one
  std::string decoder = {};   // empty: discretised for a chain, softmax for a continuous schedule,
                              // gaussian for continuous data
  std::string variance = {};  // empty: the model's own
  uint64_t seed = 0;
  int64_t batch = 64;
  Log log = {};
};

/// Means over the examples and standard errors of the means.  bits_per_dim is NaN for continuous
/// data.  A model of classes is shown each example's class and pays for it with class_nats = log K,
/// so that the sum bounds -log p(x) of the mixture of its K classes, as without classes:
/// p(x) >= p(x | y) / K.
struct Evaluation {
  int64_t examples = 0, dims = 0, evaluations = 0, path_steps = 0;
  double nats = 0, nats_error = 0, bits_per_dim = 0, bits_per_dim_error = 0;
  double prior_nats = 0, diffusion_nats = 0, decoder_nats = 0, class_nats = 0;
  double terminal_mismatch_nats = 0;
  double prior_error = 0, diffusion_error = 0, decoder_error = 0;
  std::vector<double>
      per_level_nats;  // mean of each L_{t-1} along the path, noise first; NaN where none was drawn
  Tensor per_example_nats;        // [examples]
  int64_t terms = 0;              // drawn per example; 0: every one
  std::string decoder, variance;  // what was used where the request left it open
  uint64_t seed = 0;
  double seconds = 0;
};

/// The decoder called `name`: discretised, softmax or gaussian; empty: what suits the model's data
/// and schedule.  Throws Error on another name and where it does not fit the data.
std::string decoder_name(const Model& model, const std::string& name);
Decoder decoder_named(const std::string& name, int64_t levels, Variance variance, const Path& path);

Evaluation evaluate_vlb(const Model& model, const Dataset& data, const EvaluateRequest& request);
/// Every number with its unit in the key, and what repeats the run.
Json to_json(const Evaluation& evaluation);

}  // namespace tweedie
