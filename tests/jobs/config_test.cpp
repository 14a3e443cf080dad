#include <fstream>

#include <doctest/doctest.h>

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/jobs/config.h"
#include "tweedie/jobs/learning_rate.h"
#include "tweedie/jobs/recipes.h"

using namespace tweedie;

namespace {

std::string config_refusal(const Json& given) {
  return refusal([&] { make_config(given); });
}

}  // namespace

TEST_CASE("every recipe of the program is a valid configuration") {
  CHECK(builtin_recipes().size() >= 2);
  for (const auto& [name, text] : builtin_recipes()) {
    CAPTURE(name);
    CHECK_NOTHROW(make_config(read_recipe(name)));
  }
}

TEST_CASE("an unknown key is refused and the nearest one named") {
  const std::string message = config_refusal({{"train", {{"bach", 3}}}});
  CHECK(says(message, "train: unknown option 'bach'"));
  CHECK(says(message, "did you mean 'batch'"));
}

TEST_CASE("impossible values are refused by the name of their key") {
  CHECK(
      says(config_refusal({{"train", {{"batch", 0}}}}), "train.batch: expected 1 or more, got 0"));
  CHECK(says(config_refusal({{"train", {{"batch", 4}, {"accumulate", 8}}}}), "train.accumulate"));
  CHECK(says(config_refusal({{"train", {{"learning_rate", -1.0}}}}), "train.learning_rate"));
  CHECK(says(config_refusal({{"train", {{"decay", "linnear"}}}}), "did you mean 'linear'"));
  CHECK(says(config_refusal({{"train", {{"ema", {0.9, 1.0}}}}}), "train.ema"));
  CHECK(says(config_refusal({{"train", {{"draw", "loss-aware"}, {"by_weight", true}}}}),
             "train.by_weight"));
  CHECK(says(config_refusal({{"sample", {{"guidance", 2}}}}), "data.conditional=true"));
  CHECK(says(config_refusal({{"checkpoint", {{"keep", 0}}}}), "checkpoint.keep"));
  CHECK(says(config_refusal({{"model", {{"variance", "learnt"}}}}), "did you mean 'learned'"));
  CHECK(says(config_refusal({{"train", {{"batch", "many"}}}}), "expected a whole number"));
}

TEST_CASE("--set writes into tables and reads numbers, texts and lists") {
  Json config = Json::object();
  set_option(config, "train.batch=32");
  set_option(config, "model.network=mlp");
  set_option(config, "model.multipliers=[1, 2]");
  CHECK(config["train"]["batch"] == 32);
  CHECK(config["model"]["network"] == "mlp");
  CHECK(config["model"]["multipliers"] == Json::array({1, 2}));
  CHECK_THROWS_AS(set_option(config, "train.batch"), Error);
  CHECK_THROWS_AS(set_option(config, "=3"), Error);
  CHECK_THROWS_AS(set_option(config, "train.batch.size=3"), Error);
}

TEST_CASE("a recipe file that is missing or broken says what and where") {
  const Scratch scratch;
  CHECK_THROWS_WITH_AS(read_recipe("fashion-mnits"),
                       doctest::Contains("did you mean 'fashion-mnist'"), Error);
  std::ofstream(scratch / "broken.toml") << "[train]\nbatch = \n";
  CHECK_THROWS_WITH_AS(read_recipe(scratch / "broken.toml"), doctest::Contains("line 2"), Error);
}

TEST_CASE("a configuration survives its own JSON") {
  RunConfig config;
  config.train.batch = 7;
  config.model["channels"] = 48;
  const Json json = to_json(config);
  CHECK(to_json(make_config(json)) == json);
}

TEST_CASE("the learning rate rises over the warm-up, stays, and falls to zero at the end") {
  const TrainConfig train{.learning_rate = 2, .warmup = 10, .decay = "linear", .decay_from = 0.5};
  CHECK(learning_rate(train, 1, 0.0) == doctest::Approx(0.2));
  CHECK(learning_rate(train, 10, 0.1) == 2);
  CHECK(learning_rate(train, 500, 0.5) == 2);
  CHECK(learning_rate(train, 750, 0.75) == doctest::Approx(1));
  CHECK(learning_rate(train, 1000, 1) == 0);
}

TEST_CASE("a cosine with restarts falls as often as asked, and ends at what is to be left") {
  const TrainConfig train{.learning_rate = 2,
                          .warmup = 0,
                          .decay = "restarts",
                          .decay_from = 0.2,
                          .decay_to = 0.1,
                          .decay_cycles = 4};
  for (const double cycle : {0.2, 0.4, 0.6, 0.8}) {
    CHECK(learning_rate(train, 1, cycle + 1e-9) == doctest::Approx(2).epsilon(1e-6));
    CHECK(learning_rate(train, 1, cycle + 0.1) == doctest::Approx(2 * (0.1 + 0.9 * 0.5)));
    CHECK(learning_rate(train, 1, cycle + 0.2 - 1e-9) == doctest::Approx(0.2).epsilon(1e-6));
  }
  CHECK(learning_rate(train, 1, 1) == doctest::Approx(0.2));
}

TEST_CASE("a polynomial decay is a power of what is left of the run") {
  const TrainConfig train{
      .learning_rate = 2, .warmup = 0, .decay = "polynomial", .decay_from = 0, .decay_power = 3};
  CHECK(learning_rate(train, 1, 0.5) == doctest::Approx(2.0 / 8));
  CHECK(learning_rate(train, 1, 1) == 0);
}

TEST_CASE("averages begin when told and warm up by the power asked for, up to their rate") {
  TrainConfig train;
  CHECK(average_keep(train, 0.9999, 1) == doctest::Approx(2.0 / 11));
  train.ema_power = 0.75;
  train.ema_after = 5;
  CHECK(average_keep(train, 0.9999, 5) == 0);  // a copy of the weights
  CHECK(average_keep(train, 0.9999, 15) == doctest::Approx(1 - std::pow(11, -0.75)));
  CHECK(average_keep(train, 0.5, 1000) == 0.5);
  train.ema_warmup = false;
  CHECK(average_keep(train, 0.9, 6) == 0.9);
}

TEST_CASE("impossible decays and averages are refused with their name") {
  CHECK(says(config_refusal({{"train", {{"decay", "step"}}}}), "train.decay"));
  CHECK(says(config_refusal({{"train", {{"decay_to", 2}}}}), "train.decay_to"));
  CHECK(says(config_refusal({{"train", {{"decay_power", 0}}}}), "train.decay_power"));
  CHECK(says(config_refusal({{"train", {{"decay_cycles", 0}}}}), "train.decay_cycles"));
  CHECK(says(config_refusal({{"train", {{"ema_power", -1}}}}), "train.ema_power"));
  CHECK(says(config_refusal({{"train", {{"ema_after", -1}}}}), "train.ema_after"));
}
