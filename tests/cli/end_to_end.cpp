// The commands after each other, on a toy that trains in a second.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "tests/cli/toy_run.h"
#include "tweedie/base/files.h"
#include "tweedie/base/json.h"
#include "tweedie/tensor/image.h"
#include "tweedie/tensor/npy.h"
#include "tweedie/tensor/safetensors.h"

using tweedie::Json;
using namespace tweedie::test;

namespace {

namespace fs = std::filesystem;

at::Tensor samples_of(std::vector<std::string> more) {
  const TemporaryFolder folder;
  std::vector<std::string> arguments = {"sample", toy_run(), "--steps",
                                        "4",      "--out",   folder / "a.npy"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome outcome = run_program(arguments);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  return tweedie::read_npy(folder / "a.npy");
}

}  // namespace

TEST_CASE("a seed gives the same samples whatever the batch, and samples have numbers") {
  const at::Tensor all = samples_of({"-n", "12", "--seed", "5", "--sampler", "ddpm"});
  CHECK(all.sizes() == at::IntArrayRef({12, 2}));
  const at::Tensor split =
      samples_of({"-n", "12", "--seed", "5", "--sampler", "ddpm", "--batch", "5"});
  // Matrix products of other sizes may sum in another order: float32 rounding, nothing more.
  CHECK((all - split).abs().max().item<double>() < 1e-5);
  const at::Tensor later =
      samples_of({"-n", "3", "--seed", "5", "--sampler", "ddpm", "--first", "7"});
  CHECK((all.slice(0, 7, 10) - later).abs().max().item<double>() < 1e-5);
  const at::Tensor other = samples_of({"-n", "12", "--seed", "6", "--sampler", "ddpm"});
  CHECK((all - other).abs().max().item<double>() > 0.1);
}

TEST_CASE("a model of classes makes what it is asked for, and its bound pays for being told") {
  // Images of 4 x 4: the first class is dark, the second bright (one group, or norms would hide
  // it).
  const TemporaryFolder folder;
  constexpr int kImages = 64;
  std::string pixels("\0\0\x08\3\0\0\0\x40\0\0\0\4\0\0\0\4", 16), labels("\0\0\x08\1\0\0\0\x40", 8);
  for (int i = 0; i < kImages; ++i) {
    labels += static_cast<char>(i % 2);
    for (int j = 0; j < 16; ++j)
      pixels += static_cast<char>((i % 2 == 0 ? 40 : 200) + (7 * i + 5 * j) % 16);
  }
  const auto put = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
  };
  put("train-images-idx3-ubyte", pixels), put("train-labels-idx1-ubyte", labels);
  const std::string run = folder / "run";
  const Outcome trained = run_program({"train",
                                       "--data",
                                       "idx:" + (folder / "train-images-idx3-ubyte"),
                                       "--recipe",
                                       "fashion-mnist",
                                       "--steps",
                                       "400",
                                       "--set",
                                       "data.conditional=true",
                                       "--set",
                                       "data.drop_class=0.2",
                                       "--set",
                                       "model.channels=8",
                                       "--set",
                                       "model.norm_num_groups=1",
                                       "--set",
                                       "model.multipliers=[1]",
                                       "--set",
                                       "model.layers_per_block=1",
                                       "--set",
                                       "watch.held_out_every=0",
                                       "--set",
                                       "watch.samples_every=0",
                                       "--set",
                                       "sample.guidance=1.5",
                                       "--out",
                                       run});
  REQUIRE_MESSAGE(trained.status == 0, trained.err);

  const auto brightness = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {
        "sample", run, "-n", "8", "--steps", "20", "--out", folder / "a.npy", "--json", "-"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Json record = json_of(run_program(arguments));
    CHECK(record["evaluations"] == (record["guidance"] == 1.5 ? 40 : 20));
    return tweedie::read_npy(folder / "a.npy").to(at::kDouble).mean({1, 2, 3});
  };
  const double dark = 2 * 47.5 / 255 - 1, bright = 2 * 207.5 / 255 - 1;
  CHECK((brightness({"--class", "0"}) - dark).abs().max().item<double>() < 0.15);
  CHECK((brightness({"--class", "1"}) - bright).abs().max().item<double>() < 0.15);
  const at::Tensor in_turn = brightness({"--guidance", "1"}).view({4, 2}).mean(0);
  CHECK(in_turn[0].item<double>() == doctest::Approx(dark).epsilon(0.15));
  CHECK(in_turn[1].item<double>() == doctest::Approx(bright).epsilon(0.15));

  const Json bound =
      json_of(run_program({"evaluate", run, "--split", "train", "--terms", "4", "--json", "-"}));
  CHECK(bound["terms"]["class"]["nats"].get<double>() == doctest::Approx(std::log(2.0)));
  double sum = 0;
  for (const auto& [name, term] : bound["terms"].items()) sum += term["nats"].get<double>();
  CHECK(bound["nats"].get<double>() == doctest::Approx(sum));
}

TEST_CASE("a picture of samples says how to repeat it") {
  const TemporaryFolder folder;
  const Outcome outcome =
      run_program({"sample", toy_run(), "-n", "20", "--steps", "5", "--seed", "3", "--set",
                   "eta=0.5", "--sampler", "ddim", "--out", folder / "a.png", "--trajectory",
                   folder / "way.gif", "--trajectory", folder / "way.png"});
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  const tweedie::TextChunks texts = tweedie::read_png_texts(folder / "a.png");
  REQUIRE(texts.size() == 1);
  const Json record = Json::parse(texts[0].second);
  CHECK(record["seed"] == 3);
  CHECK(record["sampler"] == "ddim");
  CHECK(record["sampler_options"]["eta"] == 0.5);
  CHECK(record["steps"] == 5);
  CHECK(record["count"] == 20);
  CHECK(record["weights_crc32"].get<std::string>().size() == 8);
  CHECK(folder.files() == std::vector<std::string>{"a.png", "way.gif", "way.png"});
  CHECK(tweedie::read_image(folder / "way.png").pixels.size(0) == 3);
  CHECK(json_of(run_program(
            {"describe", folder / "a.png", "--json", "-"}))["texts"]["tweedie"]["seed"] == 3);
}

TEST_CASE("samplers are compared on one model by error and evaluations") {
  const TemporaryFolder folder;
  const std::vector<std::string> arguments = {"compare-samplers",
                                              toy_run(),
                                              "--samplers",
                                              "heun,ddim,ddpm,flow-heun",
                                              "--evaluations",
                                              "10,40,3",
                                              "--reference-evaluations",
                                              "200",
                                              "-n",
                                              "30",
                                              "--plot",
                                              folder / "a.svg"};
  std::vector<std::string> with_json = arguments;
  with_json.insert(with_json.end(), {"--json", "-"});
  const Json found = json_of(run_program(with_json));
  CHECK(found["reference"]["evaluations"] == 200);
  CHECK(found["middle_budget"] == 10);
  CHECK(found["distribution_floor"].get<double>() > 0);
  REQUIRE(found["samplers"].size() == 4);
  for (const Json& curve : found["samplers"]) {
    CAPTURE(curve.dump());
    if (curve["points"].empty()) {  // needs a tangent, which a chain has not
      REQUIRE(curve["points_missing"].size() == 3);
      CHECK(curve["points_missing"][0]["because"].get<std::string>().find("chain") !=
            std::string::npos);
      continue;
    }
    CHECK(curve["stochastic"] == (curve["sampler"] == "ddpm"));
    REQUIRE(curve["points"].size() == 3);
    int64_t budgets[] = {3, 10, 40};
    for (size_t i = 0; i < 3; ++i) {
      const Json& point = curve["points"][i];
      const int64_t steps = point["steps"], evaluations = point["evaluations"];
      CHECK(point["budget"] == budgets[i]);
      CHECK(evaluations == (curve["sampler"] == "heun" ? 2 * steps - 1 : steps));
      CHECK(evaluations <= budgets[i]);
    }
    CHECK(curve["points"][0]["error_standard_error"].is_null() == curve["stochastic"]);
    if (curve["stochastic"] == false)
      CHECK(curve["points"][2]["error"].get<double>() < curve["points"][0]["error"].get<double>());
  }
  CHECK(found["samplers"].back()["sampler"] == "ddpm");  // its errors are of another kind
  CHECK(found["recommendation"]["evaluations"].get<int64_t>() <= 40);
  CHECK(fs::file_size(folder / "a.svg") > 5000);
  const Outcome words = run_program(arguments);
  CHECK(words.status == 0);
  CHECK(words.out.find("--sampler " + found["recommendation"]["sampler"].get<std::string>()) !=
        std::string::npos);
  CHECK(words.out.find("reference's own error") != std::string::npos);
}

TEST_CASE("raw samples go to a safetensors file with their record") {
  const TemporaryFolder folder;
  const Json said = json_of(run_program({"sample", toy_run(), "-n", "6", "--steps", "3", "--out",
                                         folder / "a.safetensors", "--json", "-"}));
  CHECK(said["evaluations"] == 3);
  const tweedie::TensorFile file = tweedie::read_safetensors(folder / "a.safetensors");
  CHECK(file.tensors.at("samples").sizes() == at::IntArrayRef({6, 2}));
  CHECK(Json::parse(file.metadata.at("tweedie"))["steps"] == 3);
}

TEST_CASE(
    "the bound is the sum of its terms, does not depend on the batch, and is told in nats for "
    "points") {
  const std::vector<std::string> ask = {"evaluate", toy_run(), "--limit", "40",
                                        "--terms",  "10",      "--json",  "-"};
  const Json result = json_of(run_program(ask));
  CHECK(!result.contains("bits_per_dim"));
  CHECK(result["images"] == 40);
  CHECK(result["nats_standard_error"].get<double>() > 0);
  const Json& terms = result["terms"];
  const double sum = terms["prior"]["nats"].get<double>() +
                     terms["diffusion"]["nats"].get<double>() +
                     terms["decoder"]["nats"].get<double>();
  CHECK(result["nats"].get<double>() == doctest::Approx(sum));
  CHECK(result["nats_per_dim"].get<double>() == doctest::Approx(sum / 2));
  std::vector<std::string> split = ask;
  split.insert(split.end(), {"--batch", "7", "--bits"});
  const Json other = json_of(run_program(split));
  CHECK(other["nats"].get<double>() ==
        doctest::Approx(result["nats"].get<double>()).epsilon(1e-4));  // float32
  CHECK(other["bits_per_dim"].get<double>() ==
        doctest::Approx(sum / 2 / std::log(2)).epsilon(1e-4));
}

TEST_CASE("an array of five dimensions is looked at, trained on, sampled and evaluated as it is") {
  const TemporaryFolder folder;
  tweedie::write_npy(folder / "a.npy", at::randn({60, 2, 2, 3, 4}));
  const std::string spec = "array:" + (folder / "a.npy"), run = folder / "run";
  const Json said = json_of(
      run_program({"data", spec, "--describe", "--grid", folder / "grid.png", "--json", "-"}));
  CHECK(said["shape"] == Json({2, 2, 3, 4}));
  CHECK(tweedie::image_size(folder / "grid.png")[0] == 1);
  const Outcome trained = run_program({"train", "--data", spec, "--out", run, "--steps", "3"});
  CHECK(trained.status == 0);
  CHECK(trained.err.find("recipe toy-2d without classes") != std::string::npos);
  for (const char* name : {"x.npy", "x.png"})
    CHECK(run_program({"sample", run, "--out", folder / name, "-n", "3", "--steps", "2"}).status ==
          0);
  CHECK(tweedie::read_npy(folder / "x.npy").sizes() == at::IntArrayRef({3, 2, 2, 3, 4}));
  CHECK(json_of(run_program({"evaluate", run, "--limit", "2", "--json", "-"}))["dims"] == 48);
}

TEST_CASE("a run, its checkpoint and its configuration are described") {
  const Json run = json_of(run_program({"describe", toy_run(), "--json", "-"}));
  CHECK(run["kind"] == "run");
  CHECK(run["config"]["data"]["spec"] == "toy:two-moons");
  CHECK(run["last_metrics"]["step"] == 60);
  REQUIRE(!run["checkpoints"].empty());
  const Json checkpoint = json_of(run_program({"describe", run["checkpoints"][0], "--json", "-"}));
  CHECK(checkpoint["kind"] == "checkpoint");
  CHECK(checkpoint["parameters"].get<int64_t>() > 1000);
  const Outcome words = run_program({"describe", toy_run()});
  CHECK(words.status == 0);
  CHECK(words.out.find("two-moons") != std::string::npos);
}

TEST_CASE("the forward process is drawn and told in numbers") {
  const TemporaryFolder folder;
  const Json strip =
      json_of(run_program({"diffuse", "--data", "toy:two-moons", "--schedule", "cosine", "--set",
                           "steps=100", "--out", folder / "a.png", "--json", "-"}));
  CHECK(strip["moments"].size() == 9);
  CHECK(strip["moments"][0]["alpha_bar"] == 1.0);
  CHECK(strip["terminal_mismatch_nats_per_dim"].get<double>() < 1e-3);
  const Outcome film =
      run_program({"diffuse", "--model", toy_run(), "--frames", "5", "--out", folder / "a.gif"});
  CHECK_MESSAGE(film.status == 0, film.err);
  CHECK(fs::file_size(folder / "a.gif") > 5000);
}

TEST_CASE("a whole sampling is timed inside and outside its network") {
  const Json found = json_of(run_program({"bench", "sample", "--net", "mlp-2d", "--sampler", "heun",
                                          "--steps", "4", "--seconds", "0.01", "--json", "-"}));
  CHECK(found["evaluations"] == 7);
  CHECK(found["sampler_steps"] == 4);
  CHECK(found["milliseconds_per_step"].get<double>() > 0);
  CHECK(found["milliseconds_outside_network_per_evaluation"].get<double>() > 0);
  CHECK(found["solver_overhead_share"].get<double>() > 0);
  CHECK(found["solver_overhead_share"].get<double>() < 1);
}

TEST_CASE("the program starts itself again with short spins, and does what it was asked once") {
  const TemporaryFolder folder;
  const Outcome outcome =
      run_program({"sample", toy_run(), "-n", "2", "--steps", "2", "--out", folder / "a.npy"}, {},
                  SIGINT, true);
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(line_count(outcome.out) == 1);
}

TEST_CASE("every list is a list, quickly") {
  for (const char* kind : {"samplers", "schedules", "networks", "datasets", "parameterisations",
                           "objectives", "recipes"}) {
    CAPTURE(kind);
    const Json list = json_of(run_program({"list", kind, "--json", "-"}));
    REQUIRE(!list[kind].empty());
    for (const Json& entry : list[kind]) CHECK(!entry["summary"].get<std::string>().empty());
  }
}

TEST_CASE("a run that exists is not trained over, and continues when asked") {
  const Outcome again =
      run_program({"train", "--data", "toy:two-moons", "--steps", "5", "--out", toy_run()});
  CHECK(again.status == 2);
  CHECK(again.err.find("--resume") != std::string::npos);
  const TemporaryFolder folder;
  fs::copy(toy_run(), folder / "run", fs::copy_options::recursive);
  const Outcome more = run_program({"train", "--out", folder / "run", "--resume", "--steps", "70"});
  CHECK_MESSAGE(more.status == 0, more.err);
  CHECK(json_of(run_program(
            {"describe", folder / "run", "--json", "-"}))["config"]["train"]["steps"] == 70);
}

TEST_CASE("two trainings never share a folder, and a killed one leaves it free") {
  const TemporaryFolder folder;
  const std::vector<std::string> train = {"train",
                                          "--data",
                                          "toy:rings",
                                          "--recipe",
                                          "toy-2d",
                                          "--steps",
                                          "100000000",
                                          "--set",
                                          "watch.held_out_every=0",
                                          "--set",
                                          "watch.samples_every=0",
                                          "--out",
                                          folder / "run"};
  std::vector<std::string> again = train;
  again.insert(again.end(), {"--resume"});
  Outcome second;
  const Outcome first = run_program(
      train,
      [&] {
        if (!fs::exists(folder / "run/checkpoints/step-000000000.safetensors")) return false;
        second = run_program(again);
        return true;
      },
      SIGKILL);
  CHECK(first.status == 128 + SIGKILL);
  CHECK(second.status == 2);
  CHECK(second.err.find("another training is at work in this folder") != std::string::npos);
  CHECK(second.err.find(folder / "run") != std::string::npos);
  const Outcome third = run_program({"train", "--out", folder / "run", "--resume", "--steps", "1"});
  CHECK_MESSAGE(third.status == 0, third.err);
}

TEST_CASE("Ctrl-C and a polite kill save, end with 130, and the run goes on from there") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const TemporaryFolder folder;
    const Outcome outcome = run_program(
        {"train", "--data", "toy:rings", "--recipe", "toy-2d", "--steps", "100000000", "--set",
         "watch.held_out_every=0", "--set", "watch.samples_every=0", "--set", "watch.log_every=1",
         "--out", folder / "run"},
        [&] { return fs::exists(folder / "run/metrics.jsonl"); }, signal);
    CAPTURE(outcome.err);
    CHECK(outcome.status == 130);
    CHECK(outcome.err.find("--resume") != std::string::npos);
    const Json run = json_of(run_program({"describe", folder / "run", "--json", "-"}));
    REQUIRE(run["checkpoints"].size() == 2);  // of the start, and of the step it was stopped at
    const Json saved = json_of(run_program({"describe", run["checkpoints"][0], "--json", "-"}));
    const int64_t step = saved["metadata"]["tweedie"]["step"];
    CHECK(step == run["last_metrics"]["step"]);
    const Outcome more = run_program(
        {"train", "--out", folder / "run", "--resume", "--steps", std::to_string(step + 3)});
    CHECK_MESSAGE(more.status == 0, more.err);
    CHECK(more.err.find("from step " + std::to_string(step)) != std::string::npos);
    for (const std::string& file : folder.files()) CHECK(!file.ends_with(".partial"));
  }
}

TEST_CASE("the page is whole by itself") {
  const TemporaryFolder folder;
  REQUIRE(run_program(
              {"sample", toy_run(), "-n", "50", "--steps", "5", "--out", folder / "samples.png"})
              .status == 0);
  const auto evaluate = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"evaluate", toy_run()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    REQUIRE(run_program(arguments).status == 0);
  };
  evaluate({"--json", folder / "e.json", "--limit", "20", "--terms", "4"});
  evaluate({"--json", folder / "part.json", "--limit", "20", "--terms", "4", "--shard", "1/2",
            "--batch", "10"});
  evaluate({"--json", folder / "one.json", "--limit", "1", "--method", "ode", "--split", "train"});
  const Outcome outcome =
      run_program({"report", toy_run(), "--samples", folder / "samples.png", "--evaluation",
                   folder / "e.json", "--out", folder / "index.html"});
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(fs::file_size(folder / "index.html") > 20000);
  const auto page_of = [&](const std::string& evaluation) {
    REQUIRE(run_program({"report", toy_run(), "--evaluation", folder / evaluation, "--out",
                         folder / "a.html"})
                .status == 0);
    return tweedie::read_file(folder / "a.html");
  };
  const auto says = [](const std::string& page, const std::string& words) {
    return page.find(words) != std::string::npos;
  };
  const std::string bound = page_of("e.json"), density = page_of("one.json");
  CHECK(says(bound, "an upper bound on -log p(x)"));
  CHECK(says(bound, "20 examples of the test split"));
  CHECK(says(bound, " \u00b1 "));
  CHECK_FALSE(says(bound, "8 bits"));  // points are not stored in bytes
  CHECK(says(density, "method ode"));
  CHECK(says(density, "1 example of the train split"));
  CHECK_FALSE(says(density, "upper bound"));
  CHECK_FALSE(says(density, "\u00b1"));  // of one example there is no error
  const Outcome part = run_program(
      {"report", toy_run(), "--evaluation", folder / "part.json", "--out", folder / "b.html"});
  CHECK(part.status == 2);
  CHECK(part.err.find("evaluate --merge") != std::string::npos);
  const Outcome damaged = run_program(
      {"report", toy_run(), "--samples", folder / "e.json", "--out", folder / "b.html"});
  CHECK(damaged.status == 2);
  CHECK(!fs::exists(folder / "b.html"));
  const Outcome foreign =
      run_program({"report", toy_run(), "--evaluation", folder / "e.json", "--baselines",
                   folder / "e.json", "--out", folder / "b.html"});
  CHECK(foreign.status == 2);
  CHECK(foreign.err.find("tweedie baselines --json") != std::string::npos);
  CHECK(!fs::exists(folder / "b.html"));
}

TEST_CASE("more steps than the chain has, and classes it does not know, are refused") {
  const TemporaryFolder folder;
  const Outcome trained =
      run_program({"train", "--data", "toy:rings", "--recipe", "toy-2d", "--steps", "2", "--set",
                   R"(schedule={"name":"cosine","steps":20})", "--out", folder / "run"});
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"--steps", "21"}, "20"},
      {{"--class", "0"}, "without classes"},
      {{"--guidance", "2"}, "classes"},
      {{"-n", "0"}, "1 or more"},
      {{"--batch", "0"}, "batch"},
      {{"--sampler", "dimm"}, "did you mean 'ddim'?"},
      {{"--sampler", "ddim", "--set", "etta=1"}, "did you mean 'eta'?"},
      {{"--set", "etta=1"}, "known: variance, clip"},
      {{"--weights", "emma"}, "raw"}};
  for (const auto& [more, says] : wrong) {
    std::vector<std::string> arguments = {"sample", folder / "run", "--out", folder / "a.png"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run_program(arguments);
    CAPTURE(outcome.err);
    CHECK(outcome.status == 2);
    CHECK(outcome.err.find(says) != std::string::npos);
    CHECK(line_count(outcome.err) == 1);
    CHECK(!fs::exists(folder / "a.png"));
  }
  const Outcome terms = run_program({"evaluate", folder / "run", "--terms", "30"});
  CHECK(terms.status == 2);
  CHECK(terms.err.find("20") != std::string::npos);
  const Outcome whole = run_program(
      {"sample", folder / "run", "--steps", "20", "-n", "4", "--out", folder / "a.npy"});
  CHECK_MESSAGE(whole.status == 0, whole.err);
}

TEST_CASE("metrics of samples are one JSON object, and lines for people") {
  const TemporaryFolder folder;
  const std::string samples = folder / "a.npy";
  REQUIRE(
      run_program({"sample", toy_run(), "--steps", "4", "-n", "100", "--out", samples}).status ==
      0);
  const std::vector<std::string> arguments = {
      "metrics", samples, "--data", "toy:two-moons", "--metrics", "mmd,classifier,memorisation"};
  std::vector<std::string> with_json = arguments;
  with_json.insert(with_json.end(), {"--json", "-"});
  const Json found = json_of(run_program(with_json));
  CHECK(found["mmd"]["samples"] == 100);
  // After 60 steps of training the samples are still nearly noise: of 100 tested ones 50 would be
  // told by chance, with a deviation of 5.
  CHECK(found["classifier"]["accuracy"].get<double>() > 0.65);
  CHECK(found["classifier"]["tested"] == 100);
  CHECK(found["file"] == samples);
  CHECK(found["split"] == "test");
  CHECK(found["features_file"].is_null());
  CHECK(found["memorisation"]["copied_by_chance"] == 0.01);
  CHECK_FALSE(found.contains("frechet"));
  const Outcome lines = run_program(arguments);
  CHECK(lines.status == 0);
  CHECK(line_count(lines.out) == 3);
}
