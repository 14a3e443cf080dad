// Training that stops being finite: what is said, how often it is tried again, how it ends.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/jobs/toy_run.h"

using namespace tweedie;

namespace {

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

/// F = slope x, with one fault the first `times` times that step 6 comes.
struct Faulty : Network {
  Tensor slope = register_parameter("slope", at::full({1}, 0.5F));
  Tensor root = register_parameter("root", at::zeros({1}));
  std::string fault;
  std::shared_ptr<int> times;
  Tensor forward(const Tensor& x, const Tensor&, const Condition&) override {
    const Tensor y = slope * x;
    if (!is_training() || step != 6 || (*times)-- <= 0) return y;
    if (fault == "loss") {
      const Tensor bad = at::zeros_like(x);
      bad[3][0] = INFINITY;
      return y + bad;
    }
    return y + root.sqrt();  // 0, with an infinite slope
  }
};

Registry with_fault(const std::string& fault, int times) {
  Registry registry = builtin();
  const auto left = std::make_shared<int>(times);
  registry.networks["faulty"] = {"", [=](const Json&) -> std::shared_ptr<Network> {
                                   const auto network = std::make_shared<Faulty>();
                                   network->fault = fault;
                                   network->times = left;
                                   return network;
                                 }};
  return registry;
}

RunConfig faulty_config() {
  RunConfig config = small_config();
  config.model = {{"network", "faulty"}, {"parameterisation", "eps"}, {"variance", "small"}};
  return config;
}

}  // namespace

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

TEST_CASE("a loss that is not finite is named with its step, example and t, and is got over") {
  const Scratch scratch;
  Heard heard;
  CHECK(train({.config = faulty_config(), .out = scratch / "run"}, with_fault("loss", 2),
              heard.hooks()) == TrainEnd::finished);
  CHECK(heard.count("step 6: the loss is not finite; bad examples (number: t, loss) ") == 2);
  const std::string& line = heard.first("step 6");
  int64_t number = -1;
  double t = -1;
  char loss[8] = "";
  REQUIRE(std::sscanf(line.substr(line.rfind(") ")).c_str(), ") %ld: %lf, %7s", &number, &t,
                      loss) == 3);
  CHECK(number >= 0);
  CHECK(t > 0);
  CHECK(t <= 1);
  CHECK(std::string(loss) == "inf");
  CHECK(heard.count("rolled back to step 4 with the learning rate times 0.5") == 1);
  CHECK(heard.count("rolled back to step 4 with the learning rate times 0.25") == 1);
  const Checkpoint last = load_checkpoint(list_checkpoints(scratch / "run").at(0));
  CHECK(last.step == 12);
  CHECK(last.state["learning_rate_scale"] == 0.25);
  CHECK(last.state["rollbacks"] == 2);
}

TEST_CASE("a gradient that is not finite is named by its tensor") {
  const Scratch scratch;
  Heard heard;
  CHECK(train({.config = faulty_config(), .out = scratch / "run"}, with_fault("gradient", 9),
              heard.hooks()) == TrainEnd::diverged);
  CHECK(heard.count("step 6: the gradient of 'root' is not finite") == 4);
  CHECK(heard.count("roll-back 3 of 3") == 1);
  CHECK(heard.count("stopped: not finite again after 3 roll-backs") == 1);
  const Checkpoint kept = load_checkpoint(list_checkpoints(scratch / "run").at(0));
  CHECK(kept.step == 4);
  for (const auto& [name, tensor] : kept.tensors) {
    CAPTURE(name);
    CHECK(at::isfinite(tensor).all().item<bool>());
  }
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

TEST_CASE("weights that the optimiser made infinite are not saved") {
  const Scratch scratch;
  RunConfig config = small_config();
  config.train.learning_rate = 1e39;  // beyond float32: the first update's loss was finite
  config.train.warmup = 0;
  config.checkpoint.every = 1;
  Heard heard;
  CHECK(train({.config = config, .out = scratch / "run"}, builtin(), heard.hooks()) ==
        TrainEnd::diverged);
  CHECK(heard.count("step 1: the weights are not finite") == 4);
  const Checkpoint kept = load_checkpoint(list_checkpoints(scratch / "run").at(0));
  CHECK(kept.step == 0);
  for (const auto& [name, tensor] : kept.tensors) {
    CAPTURE(name);
    CHECK(at::isfinite(tensor).all().item<bool>());
  }
}

TEST_CASE("steps that were rolled back leave no line in the metrics") {
  const Scratch scratch;
  Heard heard;
  train({.config = faulty_config(), .out = scratch / "run"}, with_fault("loss", 1), heard.hooks());
  std::istringstream lines(read_file(scratch / "run/metrics.jsonl"));
  std::vector<int64_t> steps;
  for (std::string line; std::getline(lines, line);)
    steps.push_back(Json::parse(line)["step"].get<int64_t>());
  CHECK(steps == std::vector<int64_t>{2, 4, 6, 8, 10, 12});
}
