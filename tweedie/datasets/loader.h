// Batches in a deterministic shuffled order, decoded in the background.
#pragma once

#include <memory>
#include <vector>

#include "tweedie/datasets/dataset.h"

namespace tweedie {

struct LoaderOptions {
  int64_t batch = 64;
  uint64_t seed = 0;
  bool flip = false;  // mirror each image with probability 1/2
};

struct LoadedBatch {
  Batch batch;
  std::vector<int64_t> indices;  // which examples of the dataset these are
  int64_t cursor;  // examples consumed up to and with this batch: what continues the order
};

/// Every epoch is a new permutation; a batch may cross an epoch's end.  The order depends on seed
/// and cursor alone.
class Loader {
 public:
  Loader(Dataset dataset, LoaderOptions options, int64_t cursor = 0);
  ~Loader();
  /// Rethrows here what reading the data threw.
  LoadedBatch next();

 private:
  struct Worker;
  std::unique_ptr<Worker> worker_;
};

}  // namespace tweedie
