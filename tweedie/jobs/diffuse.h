// The forward process and its reversal, seen.
#pragma once

#include <string>

#include "tweedie/datasets/dataset.h"
#include "tweedie/jobs/sample.h"
#include "tweedie/process/schedule.h"
#include "tweedie/tensor/image.h"

namespace tweedie {

struct DiffuseRequest {
  std::string out;       // .png or .svg: film strip with curves; .gif: animation
  int64_t examples = 6;  // rows of images; toys always show 2000 points
  int64_t moments = 9;   // columns of a film strip
  int64_t frames = 48;   // of an animation
  uint64_t seed = 0;
};

/// What was drawn: moments with alpha_bar and log-SNR, and L_T.
/// Throws Error on data that cannot be drawn or a name that is no picture.
Json diffuse_pictures(const Dataset& data, const Schedule& schedule, const DiffuseRequest& request);

/// The way back, from sample()'s trajectory: .png or .svg (states above, predictions of the clean
/// image below) or .gif.
void draw_reverse(const Model& model, const SampleResult& result, const std::string& out,
                  const TextChunks& texts);

}  // namespace tweedie
