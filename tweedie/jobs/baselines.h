// What simple models and compressors need for the same images: the yardsticks of a likelihood.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "tweedie/base/json.h"
#include "tweedie/base/log.h"
#include "tweedie/datasets/dataset.h"

namespace tweedie {

struct Baseline {
  std::string name;  // "lossless WebP"
  double bits_per_dim = 0;
  // Standard error over the images; NaN for one image, and for a compressor of all at once.
  double bits_per_dim_error = std::numeric_limits<double>::quiet_NaN();
  std::string meaning;
};

struct BaselinesRequest {
  int64_t limit = 0;  // test images, evenly spread over the data as evaluate_vlb's; 0: all
  Log log = {};
};

struct BaselinesResult {
  std::vector<Baseline> baselines;
  int64_t images = 0, dims = 0;
  double seconds = 0;
};

/// Independent pixels (fitted to `train`), lossless WebP, xz, lossless JPEG XL, on 8-bit images
/// with 1 or 3 channels. The compressors get all of the images in one file.  Throws Error on other
/// data.
BaselinesResult measure_baselines(const Dataset& train, const Dataset& test,
                                  const BaselinesRequest& request);
Json to_json(const BaselinesResult& result);

}  // namespace tweedie
