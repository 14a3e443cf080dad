// Recipes, run folders and checkpoints that somebody damaged, or made to do damage: an Error in one
// line, never a crash or a giant allocation.
#include <doctest/doctest.h>

#include <filesystem>

#include <unistd.h>

#include "tests/jobs/toy_run.h"
#include "tests/refusal.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/jobs/evaluate.h"
#include "tweedie/jobs/evaluation_picture.h"
#include "tweedie/jobs/model_file.h"
#include "tweedie/jobs/run_folder.h"
#include "tweedie/tensor/safetensors.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

/// While it lives the process has no more rights than `nobody`, where it began as root.
struct AsNobody {
  AsNobody() { changed = geteuid() == 0 && setresuid(65534, 65534, 0) == 0; }
  ~AsNobody() {
    if (changed) changed = setresuid(0, 0, 0) != 0;
  }
  bool changed;
};

/// A small run, trained once, whose checkpoint each test damages in its own way.
const Scratch& whole_run() {
  static const Scratch scratch;
  static const bool trained = [] {
    RunConfig config = small_config();
    config.train.steps = 1;
    config.train.ema = {0.9};
    return train_to(scratch / "run", config) == TrainEnd::finished;
  }();
  REQUIRE(trained);
  return scratch;
}

/// The checkpoint with `change` made to what its metadata says; its checksums are right.
std::string tampered(const Scratch& folder, const std::function<void(Json&, TensorFile&)>& change) {
  TensorFile file = read_checked_safetensors(checkpoint_path(whole_run() / "run", 1));
  Json body = Json::parse(file.metadata["tweedie"]);
  change(body, file);
  if (!body.is_null()) file.metadata["tweedie"] = body.dump();
  write_checked_safetensors(folder / "a.safetensors", file);
  return folder / "a.safetensors";
}

void check_not_loaded(const std::string& path, const std::string& fault) {
  const std::string message = refusal([&] { load_model(path, builtin()); });
  CAPTURE(fault);
  CAPTURE(message);
  CHECK(says(message, fault));
  CHECK_FALSE(says(message, "\n"));
}

}  // namespace

TEST_CASE("recipes that are no usable TOML are refused in one line, each with its reason") {
  const Scratch folder;
  const auto refuse = [&](const std::string& contents, const std::string& fault) {
    CAPTURE(fault);
    put(folder / "a.toml", contents);
    check_refused(folder / "a.toml", fault, [&] { read_recipe(folder / "a.toml"); });
  };
  check_refused(folder / "none.toml", "neither a file nor a recipe",
                [&] { read_recipe(folder / "none.toml"); });
  check_refused(folder.path, "neither a file nor a recipe", [&] { read_recipe(folder.path); });
  refuse("[train", "line 1");
  refuse("[train]\nbatch = 3\nbatch = 4\n", "line 3");
  refuse("[train]\nsteps = 99999999999999999999\n", "line 2");
  refuse(std::string("\x93NUMPY\1\0v\0", 10), "not valid TOML");
  refuse(std::string(1000, '\0'), "not valid TOML");
  refuse("\xff\xfe[train]", "not valid TOML");
  refuse("a = " + std::string(100000, '['), "not valid TOML");
  refuse("[train]\nbegun = 2024-01-01\n", "dates and times");
  put(folder / "a.toml", "");
  CHECK(read_recipe(folder / "a.toml").empty());  // an empty table changes no default
}

TEST_CASE("a recipe of the wrong types or of impossible numbers is refused by its key") {
  const Scratch folder;
  const auto refuse = [&](const std::string& toml, const std::string& fault) {
    put(folder / "a.toml", toml);
    const std::string message = refusal([&] { make_config(read_recipe(folder / "a.toml")); });
    CAPTURE(message);
    CAPTURE(fault);
    CHECK(says(message, fault));
    CHECK_FALSE(says(message, "\n"));
  };
  refuse("train = 3", "train: expected a table");
  refuse("model = 'unet'", "'network' must be a text");
  refuse("[model]\nnetwork = 3", "'network' must be a text");
  refuse("schedule = []", "'name' must be a text");
  refuse("[train]\nbatch = 2.5", "train.batch: expected a whole number");
  refuse("[train]\nbatch = 9223372036854775807", "train.batch");
  refuse("[train]\nbatch = true", "train.batch: expected a whole number");
  refuse("[train]\nlearning_rate = nan", "train.learning_rate");
  refuse("[train]\nlearning_rate = inf", "train.learning_rate");
  refuse("[train]\nepsilon = inf", "train.epsilon");
  refuse("[train]\nema = 0.9", "train.ema: expected a list of numbers");
  refuse("[train]\nema = [0.9, nan]", "train.ema");
  refuse("[train]\nema = ['0.9']", "train.ema: expected a list of numbers");
  refuse("[train]\nwarmup = -1", "train.warmup");
  refuse("[data]\nspec = 3", "data.spec: expected a text");
  refuse("[data]\nconditional = 'yes'", "data.conditional: expected true or false");
  refuse("[watch]\nsamples = 0", "watch.samples");
}

TEST_CASE("--set with a value nested without end is a text of no use, not a crash") {
  Json config = Json::object();
  set_option(config, "model.width=" + std::string(100000, '['));
  CHECK(config["model"]["width"].is_string());
  CHECK(says(refusal([&] { set_option(config, std::string(100000, '.') + "=1"); }), "empty"));
}

TEST_CASE("files that are no checkpoint are refused, each with its reason") {
  const Scratch folder;
  const auto refuse = [&](const std::string& path, const std::string& fault) {
    CAPTURE(fault);
    check_refused(path, fault, [&] { load_checkpoint(path); });
  };
  refuse(folder / "none", "no such file");
  refuse(folder.path, "is not a file");
  put(folder / "a", "");
  refuse(folder / "a", "at least 8");
  put(folder / "a", "\x89PNG\r\n\x1a\nand so on");
  refuse(folder / "a", "truncated");
  const std::string bytes = read_file(checkpoint_path(whole_run() / "run", 1));
  for (const size_t left : {size_t{7}, size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    put(folder / "a", bytes.substr(0, left));
    CHECK_THROWS_AS(load_checkpoint(folder / "a"), Error);
  }
  write_safetensors(folder / "a", {{{"x", at::zeros({2})}}, {}});
  refuse(folder / "a", "has no checksums");
  write_checked_safetensors(folder / "a", {{{"x", at::zeros({2})}}, {}});
  refuse(folder / "a", "not a checkpoint of tweedie");
}

TEST_CASE("a checkpoint that its owner may not read says so") {
  const Scratch folder;
  std::filesystem::permissions(folder.path, std::filesystem::perms(0755));
  put(folder / "a", read_file(checkpoint_path(whole_run() / "run", 1)));
  put(folder / "a.toml", "[train]");
  for (const char* name : {"a", "a.toml"})
    std::filesystem::permissions(folder / name, std::filesystem::perms::none);
  const AsNobody guard;
  if (geteuid() == 0) {
    MESSAGE("skipped: root may read anything, and cannot be left here");
    return;
  }
  check_refused(folder / "a", "Permission denied", [&] { load_checkpoint(folder / "a"); });
  check_refused(folder / "a.toml", "cannot be read", [&] { read_recipe(folder / "a.toml"); });
}

TEST_CASE("a run in a folder that belongs to somebody else is refused") {
  const Scratch folder;
  std::filesystem::permissions(folder.path, std::filesystem::perms(0555));
  const AsNobody guard;
  if (geteuid() == 0) {
    MESSAGE("skipped: root may write anywhere, and cannot be left here");
    return;
  }
  check_refused(folder.path, "cannot be written to", [&] { open_run_folder(folder.path, false); });
  check_refused(folder / "run", "cannot be made", [&] { open_run_folder(folder / "run", false); });
}

TEST_CASE("metadata of a checkpoint that says what cannot be is refused, checksums right or not") {
  const Scratch folder;
  const auto refuse = [&](const std::string& fault, const std::function<void(Json&)>& change) {
    check_not_loaded(tampered(folder, [&](Json& body, TensorFile&) { change(body); }), fault);
  };
  const std::string damaged = "its metadata cannot be read";
  refuse(damaged, [](Json& body) { body["step"] = -1; });
  refuse(damaged, [](Json& body) { body["step"] = 1e300; });
  refuse(damaged, [](Json& body) { body["step"] = uint64_t{1} << 63; });
  refuse(damaged, [](Json& body) { body["step"] = "one"; });
  refuse(damaged, [](Json& body) { body.erase("step"); });
  refuse(damaged, [](Json& body) { body = Json::array({1}); });
  refuse("expected tables", [](Json& body) { body["config"] = 3; });
  refuse("unet: is for images", [](Json& body) { body.erase("config"); });
  refuse("train.ema", [](Json& body) { body["config"]["train"]["ema"] = 3; });
  refuse("unknown network", [](Json& body) { body["config"]["model"]["network"] = "nope"; });
  refuse("model.width", [](Json& body) { body["config"]["model"]["width"] = int64_t{1} << 40; });
  refuse("has shape", [](Json& body) { body["config"]["model"]["width"] = 17; });
  refuse("lacks the weights", [](Json& body) { body["config"]["model"]["blocks"] = 2; });
  refuse("1 to 10,000,000 steps",
         [](Json& body) { body["config"]["schedule"]["steps"] = int64_t{1} << 50; });
  refuse("expected a list of whole numbers", [](Json& body) { body["data"]["shape"] = 2; });
  for (const Json& shape : {Json::array(), Json({0}), Json({-2}), Json({int64_t{1} << 40}),
                            Json({int64_t{1} << 32, int64_t{1} << 32})})
    refuse("an example of shape", [&](Json& body) { body["data"]["shape"] = shape; });
  refuse("expected a list of texts", [](Json& body) { body["data"]["classes"] = {1, 2}; });
  refuse("levels", [](Json& body) { body["data"]["levels"] = -5; });
}

TEST_CASE("metadata nested a million deep costs neither stack nor memory") {
  const Scratch folder;
  for (const std::string open : {"[", "{\"a\":"}) {
    std::string deep;
    for (int i = 0; i < 1'000'000; ++i) deep += open;
    for (int i = 0; i < 1'000'000; ++i) deep += open == "[" ? "]" : "1}";
    check_not_loaded(tampered(folder,
                              [&](Json& body, TensorFile& file) {
                                body = nullptr;
                                file.metadata["tweedie"] = R"({"step": 1, "config": )" + deep + "}";
                              }),
                     "its metadata cannot be read");
  }
}

TEST_CASE("the tensors of a checkpoint are those of its configuration or it is refused") {
  const Scratch folder;
  const auto refuse = [&](const std::string& fault,
                          const std::function<void(TensorFile&)>& change) {
    check_not_loaded(tampered(folder, [&](Json&, TensorFile& file) { change(file); }), fault);
  };
  refuse("lacks the weights 'output.bias'",
         [](TensorFile& file) { file.tensors.erase("ema.0.9.output.bias"); });
  refuse("'output.bias' has shape [5]",
         [](TensorFile& file) { file.tensors["ema.0.9.output.bias"] = at::zeros({5}); });
  refuse("has format 'tweedie checkpoint 999'",
         [](TensorFile& file) { file.metadata["format"] = "tweedie checkpoint 999"; });
  const std::string path = tampered(folder, [](Json&, TensorFile&) {});
  CHECK_NOTHROW(load_model(path, builtin()));
  CHECK(says(refusal([&] { load_model(path, builtin(), "ema.0.5"); }), "it has raw, ema.0.9"));
}

TEST_CASE("a run is not resumed from a state that cannot be") {
  for (const auto& [key, value, fault] :
       {std::tuple{"cursor", Json(-1), "out of range"},
        {"cursor", Json(INT64_MAX), "out of range"},
        {"rollbacks", Json("many"), "rollbacks: expected a whole number"},
        {"surprise", Json(1), "unknown option 'surprise'"}}) {
    CAPTURE(std::string(key));
    const Scratch scratch;
    RunConfig config = small_config();
    config.train.ema = {0.9};
    open_run_folder(scratch / "run", false);
    std::filesystem::create_directories(scratch / "run/checkpoints");
    std::filesystem::rename(
        tampered(scratch, [&](Json& body, TensorFile&) { body["state"][key] = value; }),
        checkpoint_path(scratch / "run", 1));
    CHECK(says(refusal([&] { train_to(scratch / "run", config, true); }), fault));
  }
}

TEST_CASE("random damage to a checkpoint is an error: it has checksums") {
  const Scratch folder;
  const std::string bytes = read_file(checkpoint_path(whole_run() / "run", 1));
  const int refused = damage(bytes, folder / "a", 100, [&] { load_checkpoint(folder / "a"); });
  CHECK(refused >= 99);  // a byte may be set to what it was
}

namespace {

/// Whole evaluations of two examples as shards of one part, by the bound, by importance and by the
/// flow.
std::vector<Json> good_shards() {
  const Json settings = Json::parse(
      R"({"method": "m", "kind": "bound", "meaning": "", "dims": 2, "in_bits": true, "levels": 256,
          "class_nats": 0.5, "t_min": 0.1, "seed": 0, "examples": 2, "batch": 2, "shard": 1,
          "shards": 1})");
  const auto shard = [&](const char* more, const char* table, const char* sums) {
    Json out = {
        {"seconds", 1.0},
        {"merge",
         {{"settings", settings}, {"table", Json::parse(table)}, {"sums", Json::parse(sums)}}}};
    out["merge"]["settings"].update(Json::parse(more));
    return out;
  };
  return {
      shard(
          R"({"method": "vlb", "evaluations": 4, "per_level_t": [1.0, 0.5], "per_level_log_snr": [-1.0, 3.0]})",
          R"({"index": [0, 1], "nats": [1, 2], "prior": [0, 1], "diffusion": [1, 0],
                    "decoder": [0, 1], "terminal_mismatch": [0, 0]})",
          R"({"per_level_sums": [1.0, 2.0], "per_level_counts": [2, 0]})"),
      shard(R"({"method": "ais", "evaluations": 8, "paths": 2, "variance": "large"})",
            R"({"index": [0, 1], "nats": [1, 2], "log_weight 0": [-1, -2],
                    "log_weight 1": [-2, -1], "path_variance": [0, 0]})",
            "{}"),
      shard(R"({"method": "ode", "rtol": 1e-5, "atol": 1e-5, "max_evaluations": 99})",
            R"({"index": [0, 1], "nats": [1, 2], "prior_mismatch": [0, 0],
                    "evaluations": [9, 9], "numerical_error": [0, 0],
                    "stopped_at_t": [null, null]})",
            "{}")};
}

/// Merges and writes it, as the program does.
void merge_one(const Json& shard) {
  const Evaluation merged = merge_evaluations({shard}, {"a.json"});
  to_json(merged).dump();
  lines_of(merged);
  evaluation_picture(merged, "a model").svg();
}

}  // namespace

TEST_CASE("results that are no shard's, or damaged, are refused by name") {
  for (const Json& foreign :
       {Json(), Json::array({1}), Json(3), Json::object(), Json{{"merge", Json::object()}},
        Json{{"merge", {1}}}, Json{{"merge", {{"settings", Json::object()}}}, {"seconds", 1}}})
    check_refused("a.json", "--shard i/n", [&] {
      CAPTURE(foreign.dump());
      merge_one(foreign);
    });
  const std::vector<Json> wrong = {
      Json(), "x", -1, 1e300, Json::array(), Json::array({"x", 1}), Json::object()};
  for (const Json& good : good_shards()) {
    REQUIRE_NOTHROW(merge_one(good));
    for (const char* part : {"settings", "table", "sums"})
      for (const auto& [name, value] : good["merge"][part].items()) {
        CAPTURE(name);
        Json lacking = good;
        lacking["merge"][part].erase(name);
        refusal([&] { merge_one(lacking); });  // an Error or nothing at all
        for (const Json& other : wrong) {
          CAPTURE(other.dump());
          Json damaged = good;
          damaged["merge"][part][name] = other;
          refusal([&] { merge_one(damaged); });
        }
      }
    Json no_dims = good;
    no_dims["merge"]["settings"].erase("dims");
    check_refused("a.json", "'dims' should be a whole number", [&] { merge_one(no_dims); });
  }
}

TEST_CASE("the files of a run folder that hold no JSON are refused by name") {
  const Scratch run;
  put(run / "config.json", "");
  check_refused(run / "config.json", "is not the configuration", [&] { read_config(run.path); });
  put(run / "config.json", std::string(1'000'000, '['));
  check_refused(run / "config.json", "is not the configuration", [&] { read_config(run.path); });
  put(run / "budget.json", "{\"seconds_spent\": \"long\"}");
  check_refused(run / "budget.json", "delete it", [&] { read_seconds_spent(run.path); });
  put(run / "budget.json", "{\"seconds_spent\": -5}");
  check_refused(run / "budget.json", "delete it", [&] { read_seconds_spent(run.path); });
}
