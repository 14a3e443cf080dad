#include "tweedie/jobs/measure.h"

#include <doctest/doctest.h>

#include <numeric>

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/base/error.h"
#include "tweedie/jobs/baselines.h"
#include "tweedie/tensor/npy.h"
#include "tweedie/tensor/safetensors.h"

using namespace tweedie;

namespace {

const char* const kMoons = "toy:two-moons?n=1000";

at::Tensor split_of(const char* split) {
  const Dataset data = open_dataset(builtin(), kMoons, split);
  std::vector<int64_t> all(static_cast<size_t>(data.size));
  std::iota(all.begin(), all.end(), int64_t{0});
  return data.get(all).x.to(at::kFloat);
}

MeasureRequest request_for(const std::string& samples) {
  MeasureRequest request;
  request.samples = samples;
  request.data = kMoons;
  request.limit = 500;
  return request;
}

}  // namespace

TEST_CASE("samples of the data's own distribution pass every test, shifted ones none") {
  const Scratch scratch;
  write_npy(scratch / "good.npy", split_of("train"));
  const Json good = measure(request_for(scratch / "good.npy"), builtin());
  CHECK(good["mmd"]["p_value"].get<double>() > 0.01);
  CHECK(good["classifier"]["p_value"].get<double>() > 0.01);
  write_safetensors(scratch / "bad.safetensors", {{{"x", split_of("train") + 0.5}}, {}});
  const Json bad = measure(request_for(scratch / "bad.safetensors"), builtin());
  CHECK(bad["mmd"]["p_value"].get<double>() <= 0.005);
  CHECK(bad["classifier"]["p_value"].get<double>() < 1e-3);
  // |shift| / sqrt(D) is 0.5 in every direction alike.
  CHECK(bad["sliced-wasserstein"]["distance"].get<double>() == doctest::Approx(0.5).epsilon(0.1));
  CHECK(good["sliced-wasserstein"]["distance"].get<double>() < 0.1);
}

TEST_CASE("a model that repeats its training data is found out") {
  const Scratch scratch;
  write_npy(scratch / "copies.npy", split_of("train"));
  MeasureRequest request = request_for(scratch / "copies.npy");
  request.metrics = {"memorisation"};
  const Json found = measure(request, builtin())["memorisation"];
  CHECK(found["copied"] == 1);
  for (const Json& row : found["nearest"]) CHECK(row["sample"] == row["train"]);
  write_npy(scratch / "new.npy", split_of("test"));
  request.samples = scratch / "new.npy";
  CHECK(measure(request, builtin())["memorisation"]["copied"].get<double>() <= 0.02);
}

TEST_CASE("Frechet distances of feature files need no samples and enough examples") {
  const Scratch scratch;
  const at::Tensor a = at::arange(6000, at::kFloat).view({3000, 2}).sin();
  write_npy(scratch / "a.npy", a);
  write_npy(scratch / "b.npy", a + 2);
  write_npy(scratch / "few.npy", a.slice(0, 0, 100));
  MeasureRequest request;
  request.features = scratch / "a.npy";
  request.reference_features = scratch / "b.npy";
  const Json found = measure(request, builtin());
  CHECK(found["frechet"]["squared_distance"].get<double>() == doctest::Approx(8).epsilon(1e-5));
  CHECK(found["frechet"]["samples"] == 3000);
  CHECK(found["features_file"] == scratch / "a.npy");
  CHECK(found["reference_features_file"] == scratch / "b.npy");
  for (const char* absent : {"file", "data", "split", "network", "network_crc32"}) {
    REQUIRE(found.contains(absent));
    CHECK(found[absent].is_null());
  }
  CHECK(found["metrics"] == Json({"frechet"}));
  CHECK_FALSE(found.contains("mmd"));
  request.features = scratch / "few.npy";
  CHECK(says(refusal([&] { measure(request, builtin()); }), "--any-size"));
  request.any_size = true;
  CHECK(measure(request, builtin())["frechet"]["samples"] == 100);
}

TEST_CASE("a compressor has no error bar, and one image none either") {
  const Dataset images{.name = "gray",
                       .size = 3,
                       .shape = {1, 4, 4},
                       .levels = 256,
                       .classes = {},
                       .get = [](at::ArrayRef<int64_t> indices) {
                         const Tensor x = at::tensor(indices, at::kFloat).view({-1, 1, 1, 1});
                         return Batch{(x * 0.5 - 0.5).expand({-1, 1, 4, 4}), {}};
                       }};
  for (const int64_t limit : {1, 3}) {
    const Json found =
        Json::parse(to_json(measure_baselines(images, images, {.limit = limit})).dump());
    REQUIRE(found["baselines"].size() == 4);
    for (const Json& row : found["baselines"])
      CHECK(row["bits_per_dim_standard_error"].is_number() ==
            (limit == 3 && row["name"] == "independent pixels"));
  }
}

TEST_CASE("metrics refuse what cannot be compared and say what to do") {
  const Scratch scratch;
  write_npy(scratch / "wide.npy", at::zeros({10, 3}));
  write_npy(scratch / "good.npy", split_of("test"));
  const auto check_says = [](const MeasureRequest& request, const std::string& words) {
    const std::string message = refusal([&] { measure(request, builtin()); });
    CAPTURE(message);
    CHECK(says(message, words));
  };
  check_says({}, "nothing to compare");
  check_says(request_for(scratch / "wide.npy"), "holds examples of shape [10, 3]");
  check_says(request_for(scratch / "none.npy"), "none.npy");
  check_says(request_for(scratch / "samples.txt"), ".npy or .safetensors");
  MeasureRequest request = request_for(scratch / "good.npy");
  request.metrics = {"mdm"};
  check_says(request, "did you mean 'mmd'");
  request.metrics = {"mmd", "frechet", "mdm"};
  request.log = [](const std::string& metric) { FAIL("began with " << metric); };
  check_says(request, "did you mean 'mmd'");
  request.metrics = {"mmd", "frechet"};
  request.network = scratch / "none.pt";
  check_says(request, "none.pt");
  request = request_for(scratch / "good.npy");
  request.features = "a.npy";
  check_says(request, "given together");
  request = request_for(scratch / "good.npy");
  request.data = "";
  check_says(request, "both SAMPLES and --data");
}
