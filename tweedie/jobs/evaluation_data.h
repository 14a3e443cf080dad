// What the ways of evaluating share: which examples, in which batches, and their settings.
#pragma once

#include "tweedie/base/clock.h"
#include "tweedie/jobs/evaluate.h"

namespace tweedie {

struct EvaluationBatch {
  std::vector<int64_t> indices;  // places in the data
  Tensor x0;                     // [B, ...] on the model's device
  Condition condition;
};

/// Throws Error where the data is not what the model was trained on, or the request makes no sense.
void check_request(const Model& model, const Dataset& data, const EvaluateRequest& request);

/// Calls `use` with batches of at most `size` of the request's examples, those of its shard, and
/// says how many are done.  A batch is the same whatever the shards, so that its numbers are.
void for_each_batch(const Model& model, const Dataset& data, const EvaluateRequest& request,
                    int64_t size, const std::function<void(const EvaluationBatch&)>& use);

/// Method, kind ("bound" or "estimate"), meaning, and what all methods have in common: whatever
/// shards must agree in.
Json common_settings(const Model& model, const Dataset& data, const EvaluateRequest& request,
                     const std::string& method, const std::string& kind,
                     const std::string& meaning);

/// What a model of classes pays for being shown the class: log K; else 0.
double class_nats(const Model& model);

/// Levels of the bound's path: as asked, or the chain's own, or 1000.  Throws Error if a chain has
/// fewer.
int64_t path_steps_of(const Model& model, const EvaluateRequest& request);

/// Paths or draws for each example: as asked, or `own` of the method.  Throws Error if they are too
/// many for key_of_copy.
int64_t paths_of(const EvaluateRequest& request, int64_t own);

/// The variance called `name`.  Throws Error on another name and where the model has none such.
Variance variance_named(const Model& model, const EvaluateRequest& request,
                        const std::string& name);

/// The request's draws of one purpose for each example, shaped as `like`; the n-th call gives draw
/// n, whatever the batch.
Noise noise_of(const EvaluateRequest& request, std::vector<int64_t> keys, Stream stream);

/// The `copy`-th key of an example: streams of its own for the paths or draws of one example.
inline int64_t key_of_copy(int64_t index, int64_t copy) { return index + (copy << 40); }

}  // namespace tweedie
