#include <cstdio>
#include <filesystem>
#include <memory>

#include "tweedie/cli/blas.h"
#include "tweedie/cli/commands.h"
#include "tweedie/cli/common.h"
#include "tweedie/cli/duration.h"
#include "tweedie/cli/interrupt.h"
#include "tweedie/jobs/precision.h"
#include "tweedie/jobs/run_folder.h"
#include "tweedie/jobs/train.h"

namespace tweedie {
namespace {

constexpr int kInterrupted = 130, kDiverged = 1;

struct TrainOptions {
  std::string data, out, recipe, budget, device = "auto";
  std::vector<std::string> settings;
  int64_t steps = 0, seed = 0;
  bool steps_given = false, seed_given = false, resume = false;
};

/// What a run begins with where nothing is said: networks for images and series are others than
/// for anything else, and classes are there or not.
Json default_config(const std::string& spec, const Registry& registry, Progress& progress) {
  const Dataset data = open_dataset(registry, spec, "train");
  const std::string recipe = data.shape.size() == 3 ? "fashion-mnist" : "toy-2d";
  Json config = read_recipe(recipe);
  const bool conditional = !data.classes.empty();
  config["data"]["conditional"] = conditional;
  if (!conditional) config["sample"]["guidance"] = 1;
  progress.say("no --recipe given: using the recipe " + recipe +
               (conditional ? " with classes" : " without classes"));
  return config;
}

/// A run that continues keeps its configuration; a new one begins with its recipe.
Json base_config(const TrainOptions& options, const Registry& registry, Progress& progress) {
  std::error_code ignored;
  if (options.resume &&
      std::filesystem::exists(std::filesystem::path(options.out) / "config.json", ignored)) {
    if (!options.recipe.empty())
      progress.say("the run keeps the configuration it began with; --recipe is not read again");
    return read_config(options.out);
  }
  const Json config = options.recipe.empty() ? Json() : read_recipe(options.recipe);
  const bool names_data =
      config.contains("data") && config["data"].is_object() && config["data"].contains("spec");
  check(!options.data.empty() || names_data,
        "--data: name the data to train on, as in --data fashion-mnist (see `tweedie list "
        "datasets`)");
  return options.recipe.empty() ? default_config(options.data, registry, progress) : config;
}

std::string progress_line(const TrainProgress& p) {
  char text[160];
  const std::string step =
      p.steps > 0 ? std::to_string(p.step) + "/" + std::to_string(p.steps) : std::to_string(p.step);
  std::snprintf(text, sizeof text, "step %s   loss %.4g   %.0f images/s   %s left   %lld MiB",
                step.c_str(), p.loss, p.images_per_second, short_duration(p.seconds_left).c_str(),
                static_cast<long long>(p.resident_bytes >> 20));
  return text;
}

int run_train(const TrainOptions& options, const Registry& registry) {
  Progress progress;
  TrainRequest request;
  if (!options.budget.empty()) request.budget_seconds = parse_duration(options.budget, "--budget");
  Json config = base_config(options, registry, progress);
  if (!options.data.empty()) set_option(config, "data.spec=" + Json(options.data).dump());
  for (const std::string& setting : options.settings) set_option(config, setting);
  if (options.steps_given) set_option(config, "train.steps=" + std::to_string(options.steps));
  if (options.seed_given) set_option(config, "train.seed=" + std::to_string(options.seed));
  request.config = make_config(config);
  request.out = options.out;
  request.resume = options.resume;
  request.device = options.device;
  for (const std::string& warning : {slow_blas_warning(), tiles_refused()})
    if (!warning.empty()) progress.say(warning);
  const InterruptGuard guard;
  TrainHooks hooks;
  hooks.log = [&](const std::string& line) { progress.say(line); };
  hooks.progress = [&](const TrainProgress& p) { progress.update(progress_line(p)); };
  hooks.interrupted = &InterruptGuard::interrupted;
  const TrainEnd end = train(request, registry, hooks);
  if (end == TrainEnd::diverged) return kDiverged;  // the log said where and what to do
  if (end == TrainEnd::interrupted) {
    progress.say("interrupted; saved. Continue with: tweedie train --out " + options.out +
                 " --resume");
    return kInterrupted;
  }
  progress.finish();
  const bool table = request.config.data.spec.starts_with("table:");
  say_result("", "trained: " + options.out + "\nnext: tweedie sample " + options.out +
                     " --out samples" + (table ? ".csv" : ".png"));
  return 0;
}

}  // namespace

void add_train(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand("train", "Train a model on data");
  const auto options = std::make_shared<TrainOptions>();
  command->add_option("--data", options->data,
                      "fashion-mnist, idx:PATH, images:DIR, toy:NAME (tweedie list datasets)");
  command->add_option("--out", options->out, "folder of the run")->required();
  command->add_option(
      "--recipe", options->recipe,
      "name (tweedie list recipes) or .toml file; default: one that suits the data");
  command
      ->add_option("--set", options->settings,
                   "key=value over the recipe, as in train.batch=32; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  CLI::Option* steps = command->add_option("--steps", options->steps, "optimiser steps");
  command->add_option("--budget", options->budget, "wall-clock time, as in 90s, 10m, 1h30m")
      ->excludes(steps);
  CLI::Option* seed =
      command->add_option("--seed", options->seed, "of weights, data order, noise and levels");
  command->add_option("--device", options->device, "auto, cpu or cuda");
  command->add_flag("--resume", options->resume, "continue the run in --out");
  command->callback([=, &cli] {
    options->steps_given = steps->count() > 0;
    options->seed_given = seed->count() > 0;
    cli.computes = true;
    cli.action = [options, &cli] { return run_train(*options, cli.registry); };
  });
}

}  // namespace tweedie
