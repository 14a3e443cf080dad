#include "tweedie/jobs/evaluation_data.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "tweedie/base/spread.h"
#include "tweedie/jobs/device.h"

namespace tweedie {
namespace {

/// The places of the request's examples in the data, of all shards together.
std::vector<int64_t> places_asked(const Dataset& data, const EvaluateRequest& request) {
  return spread_places(request.limit > 0 ? request.limit : data.size, data.size);
}

}  // namespace

void check_request(const Model& model, const Dataset& data, const EvaluateRequest& request) {
  check(data.size >= 1, "evaluate: the data '", data.name, "' has no examples");
  check(data.shape == model.data.shape, "evaluate: the data's examples have shape ",
        at::IntArrayRef(data.shape), ", the model was trained on ",
        at::IntArrayRef(model.data.shape), "; pass the data it was made for");
  check(data.levels == model.data.levels, "evaluate: the data has ", data.levels,
        " values per dimension (0: continuous), the model was trained on ", model.data.levels);
  check(request.limit >= 0, "evaluate: --limit ", request.limit, "; expected 1 or more");
  check(request.batch >= 1, "evaluate: the batch is ", request.batch, "; expected 1 or more");
  check(request.terms >= 0, "evaluate: --terms ", request.terms,
        "; expected 0 (every one) or more");
  check(request.path_steps >= 0, "evaluate: ", request.path_steps,
        " levels for the bound; expected 1 or more");
  check(request.shards >= 1 && request.shard >= 1 && request.shard <= request.shards,
        "evaluate: --shard ", request.shard, "/", request.shards,
        "; expected i/n with i from 1 to n");
  check(!model.config.data.conditional || !data.classes.empty(),
        "evaluate: the model needs class labels and the data '", data.name, "' has none");
  check(!model.config.data.conditional || data.classes == model.data.classes, "evaluate: '",
        data.name, "' has the classes ", Json(data.classes).dump(), ", the model was trained on ",
        Json(model.data.classes).dump());
}

void for_each_batch(const Model& model, const Dataset& data, const EvaluateRequest& request,
                    int64_t size, const std::function<void(const EvaluationBatch&)>& use) {
  const torch::Device device = device_of(*model.network);
  const std::vector<int64_t> places = places_asked(data, request);
  const int64_t examples = static_cast<int64_t>(places.size());
  const int64_t batches = (examples + size - 1) / size;
  check(request.shards <= batches, "evaluate: ", request.shards, " shards of ", examples,
        " examples in ", batches, " batches; use fewer shards or a smaller --batch");
  int64_t mine = 0, done = 0;
  for (int64_t b = request.shard - 1; b < batches; b += request.shards)
    mine += std::min(size, examples - b * size);
  for (int64_t b = request.shard - 1; b < batches; b += request.shards) {
    EvaluationBatch batch;
    batch.indices.assign(places.begin() + b * size,
                         places.begin() + std::min((b + 1) * size, examples));
    const Batch given = data.get(batch.indices);
    batch.x0 = given.x.to(device);
    if (model.config.data.conditional) batch.condition.label = given.condition.label.to(device);
    use(batch);
    done += static_cast<int64_t>(batch.indices.size());
    if (request.log)
      request.log("evaluated " + std::to_string(done) + " of " + std::to_string(mine));
  }
}

double class_nats(const Model& model) {
  return model.config.data.conditional ? std::log(static_cast<double>(model.data.classes.size()))
                                       : 0;
}

Json common_settings(const Model& model, const Dataset& data, const EvaluateRequest& request,
                     const std::string& method, const std::string& kind,
                     const std::string& meaning) {
  Json out = {{"method", method}, {"kind", kind}, {"meaning", meaning}};
  if (!request.compat.empty()) out["compat"] = request.compat;
  out["dims"] =
      std::accumulate(data.shape.begin(), data.shape.end(), int64_t{1}, std::multiplies<>());
  // A density of countable values as they are, k-diffusion's, is none of their probability.
  out["in_bits"] = (data.levels > 0 && request.compat != "k-diffusion") || request.bits;
  out["levels"] = data.levels;
  out["prior"] = {{"distribution", "normal"}, {"std", model.schedule.prior_std}};
  out["class_nats"] = class_nats(model);
  out["seed"] = request.seed;
  out["examples"] = places_asked(data, request).size();
  out["batch"] = request.batch;
  out["shard"] = request.shard;
  out["shards"] = request.shards;
  return out;
}

int64_t path_steps_of(const Model& model, const EvaluateRequest& request) {
  const int64_t steps = request.path_steps > 0     ? request.path_steps
                        : model.schedule.steps > 0 ? model.schedule.steps
                                                   : 1000;
  check(model.schedule.steps == 0 || steps <= model.schedule.steps, "evaluate: ", steps,
        " levels, but the model's chain has only ", model.schedule.steps);
  return steps;
}

int64_t paths_of(const EvaluateRequest& request, int64_t own) {
  check(request.paths >= 0, "evaluate: --paths ", request.paths, "; expected 1 or more");
  check(request.paths < (int64_t{1} << 20), "evaluate: --paths ", request.paths,
        " are too many; pass at most 2^20 - 1");
  return request.paths > 0 ? request.paths : own;
}

Variance variance_named(const Model& model, const EvaluateRequest& request,
                        const std::string& name) {
  if (name == "small") return Variance::small;
  if (name == "large") return Variance::large;
  if (name == "analytic") {
    check(static_cast<bool>(request.x0_variance),
          "evaluate: the analytic variance has to be measured on training data first");
    return Variance::analytic;
  }
  check(name == "learned", "evaluate: unknown variance '", name, "'",
        suggestion(name, {"small", "large", "learned", "analytic"}));
  check(model.variance == Variance::learned,
        "evaluate: the model has no learned variance; pass --variance small, large or analytic");
  return Variance::learned;
}

Noise noise_of(const EvaluateRequest& request, std::vector<int64_t> keys, Stream stream) {
  return keyed_noise(request.seed, std::move(keys), stream);
}

}  // namespace tweedie
