#include "tweedie/jobs/measure.h"

#include <algorithm>
#include <numeric>

#include "tweedie/base/fields.h"
#include "tweedie/metrics/classifier_test.h"
#include "tweedie/metrics/features.h"
#include "tweedie/metrics/frechet.h"
#include "tweedie/metrics/memorisation.h"
#include "tweedie/metrics/mmd.h"
#include "tweedie/metrics/sliced_wasserstein.h"
#include "tweedie/tensor/npy.h"
#include "tweedie/tensor/safetensors.h"

namespace tweedie {
namespace {

constexpr int64_t kCopiesNamed = 10;  // of the samples nearest to training examples

/// The samples that `tweedie sample` wrote; 8-bit values as data has them, in [-1, 1].
Tensor read_samples(const std::string& path) {
  Tensor x;
  if (path.ends_with(".npy")) {
    x = read_npy(path);
  } else {
    check(path.ends_with(".safetensors"), path,
          ": expected samples in a .npy or .safetensors file (tweedie sample --out)");
    const TensorFile file = read_safetensors(path);
    check(file.tensors.size() == 1, path, ": holds ", file.tensors.size(),
          " tensors; expected one, the samples");
    x = file.tensors.begin()->second;
  }
  if (x.scalar_type() == at::kByte) return x.to(at::kFloat) * (2.0 / 255) - 1;
  return x.to(at::kFloat);
}

Tensor examples_of(const Dataset& data, int64_t limit) {
  const int64_t count = limit > 0 ? std::min(limit, data.size) : data.size;
  check(count >= 1, data.name, ": has no examples");
  std::vector<int64_t> places;
  for (int64_t i = 0; i < count; ++i) places.push_back(i * data.size / count);
  return data.get(places).x;
}

class Measuring {
 public:
  Measuring(const MeasureRequest& request, const Registry& registry)
      : request_(request), registry_(registry) {
    check(request.features.empty() == request.reference_features.empty(),
          "metrics: --features and --reference-features are given together, or neither");
    check(request.network.empty() || request.features.empty(),
          "metrics: --network computes features; give it or --features, not both");
    check(request.limit >= 2, "metrics: the limit is ", request.limit, "; expected 2 or more");
    check(request.samples.empty() == request.data.empty(),
          "metrics: samples are compared with data; give both SAMPLES and --data");
    check(!request.samples.empty() || !request.features.empty(),
          "metrics: nothing to compare; give SAMPLES and --data, or --features and "
          "--reference-features");
    if (request.samples.empty()) return;
    samples_ = read_samples(request.samples);
    reference_ = open_dataset(registry, request.data, request.split);
    check(samples_.dim() >= 2 && samples_.sizes().slice(1) == at::IntArrayRef(reference_.shape),
          request.samples, ": holds examples of shape ", samples_.sizes(), ", but ",
          reference_.name, " has examples of shape ", at::IntArrayRef(reference_.shape));
  }

  Json result() const {
    std::vector<std::string> names = request_.metrics;
    if (names.empty()) {
      for (const std::string& name : metric_names()) {
        const bool given = name == "frechet"
                               ? !request_.features.empty() || !request_.network.empty()
                               : !request_.samples.empty();
        if (given) names.push_back(name);
      }
    }
    Json out = Json::object();
    for (const std::string& name : names) {
      const std::vector<std::string> known = metric_names();
      check(std::find(known.begin(), known.end(), name) != known.end(), "metrics: unknown metric '",
            name, "'", suggestion(name, known));
      check(!request_.samples.empty() || name == "frechet", "metrics: ", name,
            " needs SAMPLES and --data");
      if (request_.log) request_.log(name);
      out[name] = name == "sliced-wasserstein" ? sliced()
                  : name == "mmd"              ? of_pairs()
                  : name == "classifier"       ? classified()
                  : name == "frechet"          ? of_features()
                                               : copied();
    }
    return out;
  }

 private:
  Tensor some_samples() const { return spread_rows(samples_, request_.limit); }
  Tensor some_reference() const { return examples_of(reference_, request_.limit); }

  Json sized(Json json, const Tensor& a, const Tensor& b) const {
    json["samples"] = a.size(0);
    json["reference"] = b.size(0);
    return json;
  }

  Json sliced() const {
    const Tensor b = examples_of(reference_, 0);
    const SlicedWasserstein found = sliced_wasserstein(
        samples_, b, {.projections = request_.projections, .seed = request_.seed});
    return sized({{"distance", found.distance},
                  {"distance_standard_error", found.standard_error},
                  {"projections", found.projections}},
                 samples_, b);
  }

  Json of_pairs() const {
    const Tensor a = some_samples(), b = some_reference();
    const Mmd found = mmd(a, b, {.permutations = request_.permutations, .seed = request_.seed});
    return sized({{"squared", found.squared},
                  {"p_value", found.p_value},
                  {"bandwidth", found.bandwidth},
                  {"permutations", found.permutations}},
                 a, b);
  }

  Json classified() const {
    const Tensor a = some_samples(), b = some_reference();
    const ClassifierTest found = classifier_test(a, b, {.seed = request_.seed});
    return sized({{"accuracy", found.accuracy},
                  {"accuracy_standard_error", found.standard_error},
                  {"p_value", found.p_value},
                  {"neighbours", found.neighbours},
                  {"tested", found.tested}},
                 a, b);
  }

  Json of_features() const {
    const bool files = !request_.features.empty(), network = !request_.network.empty();
    Tensor a = files ? read_npy(request_.features) : samples_;
    Tensor b = files ? read_npy(request_.reference_features) : examples_of(reference_, 0);
    if (network) {
      a = network_features(request_.network, a);
      b = network_features(request_.network, b);
    }
    const Frechet found = frechet(a, b, {.any_size = request_.any_size});
    return sized({{"squared_distance", found.squared_distance},
                  {"features", found.dims},
                  {"of", network ? request_.network
                         : files ? "the features given"
                                 : "the values"}},
                 a, b);
  }

  Json copied() const {
    const Tensor train = examples_of(open_dataset(registry_, request_.data, "train"), 0);
    const Tensor held_out =
        examples_of(open_dataset(registry_, request_.data, "test"), request_.limit);
    const Tensor a = some_samples();
    const MemorisationOptions options;
    const Memorisation found = memorisation(a, train, held_out, options);
    Json nearest = Json::array();
    const Tensor order = found.of_samples.argsort();
    for (int64_t i = 0; i < std::min(kCopiesNamed, a.size(0)); ++i) {
      const int64_t sample = order[i].item<int64_t>();
      nearest.push_back({{"sample", sample * samples_.size(0) / a.size(0)},
                         {"train", found.nearest[sample].item<int64_t>()},
                         {"distance", found.of_samples[sample].item<double>()}});
    }
    return {{"copied", found.copied},
            {"copied_standard_error", found.copied_error},
            {"copied_by_chance", options.share},
            {"threshold", found.threshold},
            {"median_distance_of_samples", found.of_samples.median().item<double>()},
            {"median_distance_of_held_out", found.of_held_out.median().item<double>()},
            {"samples", a.size(0)},
            {"train", train.size(0)},
            {"held_out", held_out.size(0)},
            {"nearest", nearest}};
  }

  const MeasureRequest& request_;
  const Registry& registry_;
  Tensor samples_;
  Dataset reference_;
};

}  // namespace

std::vector<std::string> metric_names() {
  return {"sliced-wasserstein", "mmd", "classifier", "frechet", "memorisation"};
}

Json measure(const MeasureRequest& request, const Registry& registry) {
  Json out = Measuring(request, registry).result();
  out["seed"] = request.seed;
  return out;
}

}  // namespace tweedie
