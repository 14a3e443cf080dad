#include <cmath>
#include <filesystem>

#include <doctest/doctest.h>

#include "tests/jobs/scratch.h"
#include "tweedie/base/files.h"
#include "tweedie/jobs/checkpoint.h"
#include "tweedie/jobs/evaluate.h"
#include "tweedie/jobs/train.h"

using namespace tweedie;

namespace {

RunConfig small_config() {
  RunConfig config;
  config.data.spec = "toy:two-moons?n=200";
  config.model = {{"network", "mlp"},
                  {"parameterisation", "eps"},
                  {"variance", "small"},
                  {"width", 16},
                  {"blocks", 1}};
  config.train.steps = 12;
  config.train.batch = 8;
  config.train.ema = {0.9, 0.99};
  config.checkpoint.every = 4;
  config.watch.log_every = 2;
  config.watch.held_out_every = 0;
  config.watch.samples_every = 0;
  return config;
}

struct Heard {
  std::vector<std::string> lines;
  TrainHooks hooks() {
    return {.log = [this](const std::string& line) { lines.push_back(line); },
            .progress = {},
            .interrupted = {}};
  }
  int64_t count(const std::string& part) const {
    return std::count_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find(part) != std::string::npos;
    });
  }
};

TrainEnd train_to(const std::string& out, const RunConfig& config, bool resume = false) {
  Heard heard;
  return train({.config = config, .out = out, .resume = resume}, builtin(), heard.hooks());
}

std::string last_bytes(const std::string& run) { return read_file(list_checkpoints(run).at(0)); }

/// Data that is bad from its `bad`-th batch on.
Registry with_poison(int64_t bad) {
  Registry registry = builtin();
  registry.datasets["poison"] = {
      "", [bad](const Json&) {
        Dataset data;
        data.name = "poison";
        data.size = 64;
        data.shape = {2};
        auto calls = std::make_shared<int64_t>(0);
        data.get = [=](at::ArrayRef<int64_t> indices) {
          const Tensor x = torch::zeros({static_cast<int64_t>(indices.size()), 2});
          if ((*calls)++ >= bad) x[0][1] = NAN;
          return Batch{x, {}};
        };
        return data;
      }};
  return registry;
}

}  // namespace

TEST_CASE("two equal trainings end in equal bytes, whatever the number of threads") {
  const Scratch scratch;
  const RunConfig config = small_config();
  train_to(scratch / "a", config);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  train_to(scratch / "b", config);
  at::set_num_threads(threads);
  CHECK(last_bytes(scratch / "a") == last_bytes(scratch / "b"));
}

TEST_CASE("a run interrupted half-way and resumed ends in the bytes of an undisturbed one") {
  const Scratch scratch;
  const RunConfig config = small_config();
  train_to(scratch / "whole", config);
  int64_t asked = 0;
  TrainHooks stop_early{.log = {}, .progress = {}, .interrupted = [&] { return ++asked == 7; }};
  CHECK(train({.config = config, .out = scratch / "cut"}, builtin(), stop_early) ==
        TrainEnd::interrupted);
  CHECK(load_checkpoint(list_checkpoints(scratch / "cut").at(0)).step == 7);
  CHECK(train_to(scratch / "cut", config, true) == TrainEnd::finished);
  CHECK(last_bytes(scratch / "whole") == last_bytes(scratch / "cut"));
}

TEST_CASE("a checkpoint names no place of this machine") {
  const Scratch scratch;
  train_to(scratch / "run", small_config());
  CHECK(last_bytes(scratch / "run").find(scratch.path) == std::string::npos);
}

TEST_CASE("accumulated gradients are those of the whole batch") {
  const Scratch scratch;
  RunConfig config = small_config();
  config.train.steps = 1;
  config.train.warmup = 0;
  train_to(scratch / "whole", config);
  config.train.accumulate = 3;
  train_to(scratch / "parts", config);
  const Checkpoint whole = load_checkpoint(list_checkpoints(scratch / "whole").at(0));
  const Checkpoint parts = load_checkpoint(list_checkpoints(scratch / "parts").at(0));
  for (const auto& [name, tensor] : whole.tensors)
    if (name.starts_with("adam.m."))  // a tenth of the gradient after one step; sums in another
                                      // order differ by rounding
      CHECK((tensor - parts.tensors.at(name)).abs().max().item<double>() <= 1e-7);
}

TEST_CASE("bad data is named, rolled back from three times, then training stops with advice") {
  const Scratch scratch;
  RunConfig config = small_config();
  config.data.spec = "poison";
  Heard heard;
  const TrainEnd end =
      train({.config = config, .out = scratch / "run"}, with_poison(6), heard.hooks());
  CHECK(end == TrainEnd::diverged);
  CHECK(heard.count("the data of the batch is not finite") == 4);
  CHECK(heard.count("rolled back to step") == 3);
  CHECK(heard.count("train.learning_rate") == 1);
  CHECK(newest_checkpoint(scratch / "run", [](const std::string&) {}).has_value());
}

TEST_CASE("an exploding step is rolled back with half the learning rate") {
  const Scratch scratch;
  RunConfig config = small_config();
  config.train.learning_rate = 1e38;
  config.train.warmup = 0;
  Heard heard;
  CHECK(train({.config = config, .out = scratch / "run"}, builtin(), heard.hooks()) ==
        TrainEnd::diverged);
  CHECK(heard.count("rolled back to step 0") == 3);
  CHECK(heard.count("not finite") >= 4);
}

TEST_CASE("training on a two-dimensional toy lowers the held-out bound") {
  const Scratch scratch;
  RunConfig config = small_config();
  config.data.spec = "toy:gaussian-mixture?n=2000";
  config.model["width"] = 64;
  config.train = {.steps = 600, .batch = 64, .learning_rate = 3e-3, .ema = {0.99}};
  config.checkpoint.every = 1000;
  const Registry registry = builtin();
  train_to(scratch / "run", config);
  const Dataset held_out = open_dataset(registry, config.data.spec, "test");
  const EvaluateRequest request{.limit = 200, .terms = 20};
  const Model fresh = build_model(config, {held_out.shape, 0, held_out.classes}, registry);
  const Model trained = load_model(scratch / "run", registry);
  const double before = evaluate_vlb(fresh, held_out, request).nats,
               after = evaluate_vlb(trained, held_out, request).nats;
  CHECK(after < before - 1);
  const Batch all = held_out.get(std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(held_out.log_density(all.x).isfinite().all().item<bool>());
}
