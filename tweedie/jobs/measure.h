// How samples compare with data: the metrics by name, on files.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/json.h"
#include "tweedie/base/log.h"
#include "tweedie/registry.h"

namespace tweedie {

struct MeasureRequest {
  std::string samples;                       // .npy or .safetensors, [N, ...] in the data's units
  std::string data, split = "test";          // what they are compared with
  std::vector<std::string> metrics = {};     // of metric_names(); empty: every one that can be
  std::string features, reference_features;  // .npy [N, F] instead of samples and data
  std::string network;         // TorchScript, whose features the Frechet distance takes
  int64_t limit = 2000;        // examples of each set, evenly spread, where all pairs are looked at
  int64_t projections = 512;   // of the sliced Wasserstein distance
  int64_t permutations = 199;  // of MMD's p-value
  uint64_t seed = 0;
  bool any_size = false;  // a Frechet distance of fewer examples than it needs
  Log log = {};
};

/// "sliced-wasserstein", "mmd", "classifier", "frechet", "memorisation".
std::vector<std::string> metric_names();

/// The request and one object a metric, with what repeats them: estimates, standard errors,
/// p-values, sizes of the sets.  The Frechet distance is of the network's features, else of the
/// features given, else of the values themselves.  Memorisation compares with the data's training
/// split, and its test split as held out.  Throws Error on files, data and names that cannot be
/// used.
Json measure(const MeasureRequest& request, const Registry& registry);

}  // namespace tweedie
