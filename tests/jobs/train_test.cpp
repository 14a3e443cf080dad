#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include <ATen/Parallel.h>

#include "tests/jobs/toy_run.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/jobs/evaluate.h"
#include "tweedie/jobs/sample.h"

using namespace tweedie;

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

namespace {

RunConfig learned_schedule_config() {
  RunConfig config = small_config();
  config.schedule = {{"name", "learned"}, {"gamma_min", -6}, {"gamma_max", 4}};
  config.train.objective = "vlb";
  config.train.learning_rate = 1e-2;
  return config;
}

void expect_same_gradient_in_parts(RunConfig config) {
  const Scratch scratch;
  config.train.steps = 1;
  config.train.clip = 0;
  config.train.precision = "fp32";  // bf16 would round the gradients of each part
  train_to(scratch / "whole", config);
  const Checkpoint whole = load_checkpoint(list_checkpoints(scratch / "whole").at(0));
  for (const int64_t parts : {2, 3, 4, 8}) {  // 3 does not divide the batch of 8
    CAPTURE(parts);
    const std::string run = scratch / std::to_string(parts);
    config.train.accumulate = parts;
    train_to(run, config);
    const Checkpoint split = load_checkpoint(list_checkpoints(run).at(0));
    double most = 0, largest = 0;  // after one step Adam's first moment is a tenth of the gradient
    for (const auto& [name, tensor] : whole.tensors) {
      if (!name.starts_with("adam.m.")) continue;
      most = std::max(most, (tensor - split.tensors.at(name)).abs().max().item<double>());
      largest = std::max(largest, tensor.abs().max().item<double>());
    }
    CHECK(largest > 1e-4);
    CHECK(most <= 1e-6 * largest);  // sums of 8 floats in another order
  }
}

}  // namespace

TEST_CASE("gradients accumulated in parts are those of the whole batch") {
  expect_same_gradient_in_parts(small_config());
  expect_same_gradient_in_parts(learned_schedule_config());
}

TEST_CASE("a resumed run passes over a damaged newest checkpoint, says so, and ends the same") {
  const Scratch scratch;
  const RunConfig config = small_config();
  train_to(scratch / "whole", config);
  for (const char* damage : {"flip", "half"}) {
    CAPTURE(damage);
    const std::string run = scratch / damage;
    RunConfig part = config;
    part.train.steps = 8;
    train_to(run, part);
    const std::string newest = checkpoint_path(run, 8);
    std::string bytes = read_file(newest);
    if (damage == std::string("flip"))
      bytes[bytes.size() - 5] ^= 1;
    else
      bytes.resize(bytes.size() / 2);
    std::ofstream(newest, std::ios::binary) << bytes;
    Heard heard;
    CHECK(train({.config = config, .out = run, .resume = true}, builtin(), heard.hooks()) ==
          TrainEnd::finished);
    CHECK(heard.count("passing over a checkpoint that cannot be used: " + newest) == 1);
    CHECK(heard.count("from step 4") == 1);
    CHECK(last_bytes(scratch / "whole") == last_bytes(run));
  }
}

TEST_CASE("what a killed run left half-written is no obstacle, and is gone in the end") {
  const Scratch scratch;
  const RunConfig config = small_config();
  train_to(scratch / "whole", config);
  RunConfig part = config;
  part.train.steps = 4;
  const std::string run = scratch / "cut";
  train_to(run, part);
  for (const std::string& name :
       {checkpoint_path(run, 8), run + "/config.json", run + "/metrics.jsonl"})
    std::ofstream(name + ".partial") << "half of it";
  CHECK(train_to(run, config, true) == TrainEnd::finished);
  CHECK(last_bytes(scratch / "whole") == last_bytes(run));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run))
    CHECK(entry.path().extension() != ".partial");
}

TEST_CASE("a run whose every checkpoint is damaged is not begun again over it") {
  const Scratch scratch;
  const RunConfig config = small_config();
  train_to(scratch / "run", config);
  for (const std::string& path : list_checkpoints(scratch / "run")) std::ofstream(path) << "x";
  CHECK_THROWS_WITH_AS(train_to(scratch / "run", config, true),
                       doctest::Contains("checkpoints can be used"), Error);
  CHECK(read_file(list_checkpoints(scratch / "run").at(0)) == "x");
}

TEST_CASE("resuming with another network is refused by what does not fit") {
  const Scratch scratch;
  RunConfig config = small_config();
  train_to(scratch / "run", config);
  const std::string written = read_file(scratch / "run/config.json");
  config.model["width"] = 8;
  CHECK_THROWS_WITH_AS(train_to(scratch / "run", config, true), doctest::Contains("has shape"),
                       Error);
  CHECK(read_file(scratch / "run/config.json") == written);
}

TEST_CASE("a folder that cannot be written to is refused before any work") {
  CHECK_THROWS_WITH_AS(train_to("/proc/run", small_config()), doctest::Contains("/proc/run"),
                       Error);
  const Scratch scratch;
  std::ofstream(scratch / "file") << "x";
  CHECK_THROWS_WITH_AS(train_to(scratch / "file", small_config()), doctest::Contains("is a file"),
                       Error);
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
  const Model fresh =
      build_model(config, {held_out.shape, 0, held_out.classes, Json::array()}, registry);
  const Model trained = load_model(scratch / "run", registry);
  const double before = evaluate_vlb(fresh, held_out, request).nats,
               after = evaluate_vlb(trained, held_out, request).nats;
  CHECK(after < before - 1);
  const Batch all = held_out.get(std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(held_out.log_density(all.x).isfinite().all().item<bool>());
}

namespace {

RunConfig learned_variance_config(const char* objective) {
  RunConfig config = small_config();
  config.schedule = {{"name", "cosine"}, {"steps", 8}};
  config.model["variance"] = "learned";
  config.train.objective = objective;
  return config;
}

std::string training_error(const RunConfig& config) {
  const Scratch scratch;
  return refusal([&] { train_to(scratch / "run", config); });
}

}  // namespace

TEST_CASE("objectives hybrid and bound train the outputs that learned variances come from") {
  for (const char* objective : {"hybrid", "bound"}) {
    CAPTURE(objective);
    const Scratch scratch;
    const RunConfig config = learned_variance_config(objective);
    train_to(scratch / "run", config);
    const Checkpoint end = load_checkpoint(list_checkpoints(scratch / "run").at(0));
    const Tensor moment = end.tensors.at("adam.m.output.bias");  // [mean, variance]
    CHECK(moment.narrow(0, 2, 2).abs().min().item<double>() > 0);
  }
}

TEST_CASE("a learned variance needs an objective that trains it, and the other way round") {
  CHECK(training_error(learned_variance_config("simple")).find("hybrid or bound") !=
        std::string::npos);
  RunConfig fixed = learned_variance_config("hybrid");
  fixed.model["variance"] = "small";
  CHECK(says(training_error(fixed), "model.variance=learned"));
  RunConfig continuous = learned_variance_config("hybrid");
  continuous.schedule = {{"name", "vp"}};
  CHECK(says(training_error(continuous), "needs a chain"));
}

TEST_CASE("loss-aware draws resume to the bytes of an undisturbed run") {
  // A chain so short, and batches so large, that every history fills before the interruption.
  for (const auto& [schedule, batch] :
       {std::pair{Json{{"name", "cosine"}, {"steps", 2}}, 8}, {Json{{"name", "vp"}}, 512}}) {
    CAPTURE(schedule);
    const Scratch scratch;
    RunConfig config = small_config();
    config.schedule = schedule;
    config.train.draw = "loss-aware";
    config.train.steps = 12;
    config.train.batch = batch;
    train_to(scratch / "whole", config);
    int64_t asked = 0;
    TrainHooks stop_early{.log = {}, .progress = {}, .interrupted = [&] { return ++asked == 7; }};
    CHECK(train({.config = config, .out = scratch / "cut"}, builtin(), stop_early) ==
          TrainEnd::interrupted);
    const Json state = load_checkpoint(list_checkpoints(scratch / "cut").at(0)).state;
    for (const Json& losses : state["level_sampler"]["losses"]) CHECK(losses.size() == 10);
    train_to(scratch / "cut", config, true);
    CHECK(last_bytes(scratch / "whole") == last_bytes(scratch / "cut"));
  }
}

TEST_CASE("an eps loss on a process that ends in pure noise warns and names the way out") {
  for (const auto& [objective, warned] : {std::pair{"simple", 1}, {"unweighted", 0}}) {
    const Scratch scratch;
    RunConfig config = small_config();
    config.schedule = {{"name", "flow"}};
    config.model["parameterisation"] = "velocity";
    config.train.objective = objective;
    Heard heard;
    train({.config = config, .out = scratch / "run"}, builtin(), heard.hooks());
    CHECK(heard.count("train.objective=unweighted") == warned);
  }
}

TEST_CASE("a learned schedule resumes to the bytes of an undisturbed run") {
  const Scratch scratch;
  const RunConfig config = learned_schedule_config();
  train_to(scratch / "whole", config);
  int64_t asked = 0;
  TrainHooks stop_early{.log = {}, .progress = {}, .interrupted = [&] { return ++asked == 7; }};
  CHECK(train({.config = config, .out = scratch / "cut"}, builtin(), stop_early) ==
        TrainEnd::interrupted);
  train_to(scratch / "cut", config, true);
  CHECK(last_bytes(scratch / "whole") == last_bytes(scratch / "cut"));
}

TEST_CASE("a model is loaded with the schedule that its run learned, and samples and evaluates") {
  const Scratch scratch;
  const RunConfig config = learned_schedule_config();
  train_to(scratch / "run", config);
  const Registry registry = builtin();
  const Model raw = load_model(scratch / "run", registry, "raw"),
              averaged = load_model(scratch / "run", registry);
  const Tensor table = raw.gamma->table();
  for (const int64_t knot : {0, 700, 2048}) {
    const double t = static_cast<double>(knot) / 2048;
    CHECK(-log_snr(raw.schedule.at(t)) == doctest::Approx(table[0][knot].item<double>()));
    CHECK(log_snr(averaged.schedule.at(t)) == log_snr(raw.schedule.at(t)));
  }
  CHECK(std::abs(table[0][0].item<double>() + 6) > 1e-3);  // the ends have moved
  CHECK(sample(raw, registry, {.count = 4, .steps = 5}).x.isfinite().all().item<bool>());
  const Dataset held_out = open_dataset(registry, config.data.spec, "test");
  CHECK(std::isfinite(evaluate_vlb(averaged, held_out, {.limit = 4, .terms = 2}).nats));
}

TEST_CASE("a learned schedule is refused what it cannot be learned with") {
  RunConfig config = learned_schedule_config();
  config.train.objective = "simple";
  CHECK(says(training_error(config), "train.objective=vlb"));
  config = learned_schedule_config();
  config.model["parameterisation"] = "v";
  CHECK(says(training_error(config), "model.parameterisation=eps"));
  config = learned_schedule_config();
  config.train.draw = "loss-aware";
  CHECK(says(training_error(config), "train.draw=antithetic"));
}

TEST_CASE("a checkpoint without the schedule that it learned is refused") {
  const Scratch scratch;
  train_to(scratch / "run", learned_schedule_config());
  Checkpoint checkpoint = load_checkpoint(list_checkpoints(scratch / "run").at(0));
  CHECK(checkpoint.tensors.erase("schedule.gamma") == 1);
  save_checkpoint(scratch / "bare", checkpoint, 1);
  CHECK_THROWS_WITH_AS(load_model(scratch / "bare", builtin()),
                       doctest::Contains("lacks 'schedule.gamma'"), Error);
}
