#include "tweedie/jobs/measure.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <zlib.h>

#include "tweedie/base/fields.h"
#include "tweedie/base/files.h"
#include "tweedie/base/spread.h"
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
  check(data.size >= 1, data.name, ": has no examples");
  return data.get(spread_places(limit > 0 ? limit : data.size, data.size)).x;
}

/// CRC-32 of a file, 8 hex digits: which samples or network it was.
std::string crc_of_file(const std::string& path) {
  const std::string bytes = read_file(path);
  char text[16];
  std::snprintf(text, sizeof text, "%08lx",
                crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  return text;
}

/// null where there is none.
Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

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
    choose_metrics();
    if (!request.network.empty()) network_crc_ = crc_of_file(request.network);
    if (!request.features.empty()) {
      features_ = read_npy(request.features);
      reference_features_ = read_npy(request.reference_features);
    }
    if (request.samples.empty()) return;
    samples_ = read_samples(request.samples);
    samples_crc_ = crc_of_file(request.samples);
    reference_ = open_dataset(registry, request.data, request.split);
    check(samples_.dim() >= 2 && samples_.sizes().slice(1) == at::IntArrayRef(reference_.shape),
          request.samples, ": holds examples of shape ", samples_.sizes(), ", but ",
          reference_.name, " has examples of shape ", at::IntArrayRef(reference_.shape));
  }

  /// What was asked, then what was found.
  Json result() const {
    Json out = {{"file", text_or_null(request_.samples)},
                {"file_crc32", text_or_null(samples_crc_)},
                {"data", text_or_null(request_.data)},
                {"split", request_.data.empty() ? Json() : Json(request_.split)},
                {"features_file", text_or_null(request_.features)},
                {"reference_features_file", text_or_null(request_.reference_features)},
                {"network", text_or_null(request_.network)},
                {"network_crc32", text_or_null(network_crc_)},
                {"metrics", names_},
                {"limit", request_.limit},
                {"any_size", request_.any_size},
                {"seed", request_.seed}};
    for (const std::string& name : names_) {
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
  void choose_metrics() {
    const std::vector<std::string> known = metric_names();
    names_ = request_.metrics;
    if (names_.empty()) {
      for (const std::string& name : known) {
        const bool given = name == "frechet"
                               ? !request_.features.empty() || !request_.network.empty()
                               : !request_.samples.empty();
        if (given) names_.push_back(name);
      }
    }
    for (const std::string& name : names_) {
      check(std::find(known.begin(), known.end(), name) != known.end(), "metrics: unknown metric '",
            name, "'", suggestion(name, known));
      check(!request_.samples.empty() || name == "frechet", "metrics: ", name,
            " needs SAMPLES and --data");
    }
  }

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
    return sized(
        {{"distance", found.distance},
         {"distance_standard_error_over_projections", found.standard_error_over_projections},
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
    Tensor a = files ? features_ : samples_;
    Tensor b = files ? reference_features_ : examples_of(reference_, 0);
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
            {"train_split", "train"},
            {"held_out_split", "test"},
            {"nearest", nearest}};
  }

  const MeasureRequest& request_;
  const Registry& registry_;
  std::vector<std::string> names_;  // of the metrics to measure
  std::string network_crc_, samples_crc_;
  Tensor samples_, features_, reference_features_;
  Dataset reference_;
};

}  // namespace

std::vector<std::string> metric_names() {
  return {"sliced-wasserstein", "mmd", "classifier", "frechet", "memorisation"};
}

Json measure(const MeasureRequest& request, const Registry& registry) {
  return Measuring(request, registry).result();
}

}  // namespace tweedie
