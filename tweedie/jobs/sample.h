// Samples of a trained model.
#pragma once

#include <functional>
#include <optional>

#include "tweedie/jobs/model_file.h"

namespace tweedie {

struct SampleRequest {
  int64_t count = 64;
  std::string sampler = {};  // empty: the model's own
  Json sampler_options = Json::object();
  std::string path = {};  // empty: the model's own
  int64_t steps = 0;      // 0: the model's own
  uint64_t seed = 0;
  int64_t first = 0;  // number of the first sample: samples are numbered, and a number always gives
                      // the same sample
  Tensor noise = {};  // standard normal [count, ...] to start from, instead of the seed's
  Tensor condition = {};  // what each sample is asked to be: labels, whole numbers [count], or the
                          // network's context, floating point [count, ...]
  int64_t class_id = -1;  // -1: unconditional, or classes in turn for a conditional model
  std::optional<double> guidance = {};  // weight of the class; none: the model's own
  int64_t batch = 64;
  std::string precision = "auto";  // of the network: auto, fp32 or bf16
  int64_t frames = 0;              // moments of the trajectory to keep, evenly spread; 0: none
  int64_t frame_samples = 64;      // of how many samples, from the first
  Log log = {};
};

/// The states of the first samples at one moment of their way from noise to data.
struct Frame {
  double t;        // of the level reached
  double log_snr;  // there; +infinity at clean data
  Tensor x, x0;    // [samples, ...]: the state, and the prediction it was made from
};

struct SampleResult {
  Tensor x;  // [count, ...] float32 on the CPU, in data space
  std::vector<Frame>
      trajectory;             // `frames` of them, noise first (whose x0 is the first prediction)
  int64_t evaluations = 0;    // of the network, per sample
  std::string sampler, path;  // what was used where the request left it open
  int64_t steps = 0;
  double guidance = 1;
  double seconds = 0;
};

/// Throws Error on an unknown sampler, a class out of range, a condition that the network cannot be
/// told, more steps than a chain has, or a
/// non-finite state (naming step).
SampleResult sample(const Model& model, const Registry& registry, const SampleRequest& request,
                    const Observer& observer = {});

}  // namespace tweedie
