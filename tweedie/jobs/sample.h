// Samples of a trained model.
#pragma once

#include <functional>

#include "tweedie/jobs/model_file.h"

namespace tweedie {

struct SampleRequest {
  int64_t count = 64;
  std::string sampler;  // empty: the model's own
  Json sampler_options = Json::object();
  int64_t steps = 0;  // 0: the model's own
  uint64_t seed = 0;
  int64_t first = 0;  // number of the first sample: samples are numbered, and a number always gives
                      // the same sample
  int64_t class_id = -1;  // -1: unconditional, or classes in turn for a conditional model
  double guidance = 1;
  int64_t batch = 64;
  Log log;
};

struct SampleResult {
  Tensor x;                        // [count, ...] float32 on the CPU, in data space
  std::vector<Tensor> trajectory;  // of x0 predictions and states, if asked for
  int64_t evaluations = 0;         // of the network, per sample
};

/// Throws Error on an unknown sampler, a class out of range, more steps than a chain has, or a
/// non-finite state (naming step).
SampleResult sample(const Model& model, const Registry& registry, const SampleRequest& request,
                    const Observer& observer = {});

}  // namespace tweedie
