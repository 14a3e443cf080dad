// Networks for ONNX Runtime and its like.
#pragma once

#include <string>

#include "tweedie/jobs/model_file.h"

namespace tweedie {

struct OnnxReport {
  int64_t parameters = 0;  // values
  std::vector<std::string> inputs;
};

/// Writes the network as an ONNX file for inference (opset 17, float32, batches of any size):
/// out_sample = F(sample, timestep[, class_labels]), named as diffusers names them; sample is
/// c_in x_t, timestep is c_noise.  What F predicts, and the schedule, are in the file's metadata
/// (one that was learned as its log-SNR at 2049 even times from 0 to 1).
/// Throws Error naming an operation that has no rule.  The model's network is changed (to doubles)
/// and must not be used afterwards.
OnnxReport export_onnx(Model model, const std::string& path);

}  // namespace tweedie
