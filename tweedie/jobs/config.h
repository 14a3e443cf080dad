// Everything a run is made of: what a recipe may say, what a checkpoint stores.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/fields.h"

namespace tweedie {

struct DataConfig {
  std::string spec = "fashion-mnist";
  bool conditional = false;
  double drop_class = 0.1;
  bool flip = false;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("spec", spec,
          "the data: fashion-mnist, idx:PATH, images:DIR, toy:NAME (see `tweedie list datasets`)");
    visit("conditional", conditional, "learn p(x | class) from the data's labels");
    visit("drop_class", drop_class,
          "share of examples whose class is hidden in training, which guidance needs");
    visit("flip", flip, "mirror images at random; only where a mirrored image is as probable");
  }
};

struct TrainConfig {
  int64_t steps = 20000;
  int64_t batch = 64;
  int64_t accumulate = 1;
  double learning_rate = 2e-4;
  std::string optimiser = "adamw";
  double beta1 = 0.9, beta2 = 0.999, weight_decay = 0, epsilon = 1e-8;
  int64_t warmup = 100;
  std::string decay = "constant";
  double decay_from = 0.5, decay_to = 0, decay_power = 1;
  int64_t decay_cycles = 1;
  double clip = 1;
  std::string objective = "simple";
  Json objective_options = Json::object();
  std::string draw = "antithetic";
  bool by_weight = false;
  std::vector<double> ema = {0.9999};
  bool ema_warmup = true;
  double ema_power = 0;
  int64_t ema_after = 0;
  std::string precision = "auto";
  int64_t seed = 0;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("steps", steps, "optimiser steps; --budget 10m replaces it by wall-clock time");
    visit("batch", batch, "examples in one step");
    visit("accumulate", accumulate, "parts a batch is computed in: same gradient, less memory");
    visit("learning_rate", learning_rate, "peak step size of the optimiser");
    visit("optimiser", optimiser, "adamw or adam");
    visit("beta1", beta1, "decay of the gradient's mean");
    visit("beta2", beta2, "decay of the gradient's mean square");
    visit("weight_decay", weight_decay, "decoupled (adamw) or added to the gradient (adam)");
    visit("epsilon", epsilon, "added to the root mean square of the gradient");
    visit("warmup", warmup, "steps over which the learning rate rises from 0");
    visit("decay", decay, "constant, linear, cosine, restarts (of a cosine) or polynomial");
    visit("decay_from", decay_from, "fraction of the run at which the decay begins");
    visit("decay_to", decay_to, "share of the learning rate that is left at the end of the run");
    visit("decay_power", decay_power, "of the polynomial");
    visit("decay_cycles", decay_cycles, "falls of a cosine with restarts");
    visit("clip", clip, "largest norm of the whole gradient; 0: no clipping");
    visit("objective", objective, "what is minimised (see `tweedie list objectives`)");
    visit("objective_options", objective_options, "the objective's own options");
    visit("draw", draw,
          "how a batch's levels are drawn: uniform, antithetic (evenly spread), stratified (one in "
          "each part), or loss-aware (where the loss is large)");
    visit("by_weight", by_weight,
          "draw levels in proportion to the objective's weight instead of weighing their loss");
    visit("ema", ema, "decay rates of the weight averages kept, a step");
    visit("ema_warmup", ema_warmup, "average faster at first: min(decay, (1 + n)/(10 + n))");
    visit("ema_power", ema_power, "warm up as 1 - (1 + n)^-power instead; 0: as above");
    visit("ema_after", ema_after, "steps before the averages begin");
    visit("precision", precision, "auto, fp32 or bf16 (fp32 master weights)");
    visit("seed", seed, "of the weights, the data order, the noise and the levels");
  }
};

struct CheckpointConfig {
  int64_t every = 1000;
  int64_t keep = 2;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("every", every, "steps between checkpoints");
    visit("keep", keep, "how many of the last checkpoints are kept");
  }
};

struct WatchConfig {
  int64_t log_every = 50;
  int64_t held_out_every = 1000;
  int64_t held_out = 256;
  int64_t samples_every = 2000;
  int64_t samples = 16;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("log_every", log_every, "steps between lines of metrics.jsonl");
    visit("held_out_every", held_out_every,
          "steps between evaluations of the bound on held-out data; 0: never");
    visit("held_out", held_out, "held-out examples used for it");
    visit("samples_every", samples_every, "steps between sample grids; 0: never");
    visit("samples", samples, "samples in a grid");
  }
};

struct SampleConfig {
  std::string sampler = "ddim";
  int64_t steps = 50;
  std::string path = "auto";
  double guidance = 1;
  Json options = Json::object();
  template <class Visit>
  void fields(Visit&& visit) {
    visit("sampler", sampler, "what `tweedie sample` uses unless told otherwise");
    visit("steps", steps, "its number of steps");
    visit("path", path,
          "the levels it visits: auto (what suits the sampler), trailing, leading or linspace "
          "(chains), time (continuous), karras, log-snr");
    visit("guidance", guidance,
          "weight of the class: 1: as learned, above 1: clearer and less varied samples");
    visit("options", options, "the sampler's own options");
  }
};

/// Of an imported model: the files of its library that described it, to the letter.
struct SourceConfig {
  std::string network, scheduler;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("network", network, "its config.json");
    visit("scheduler", scheduler, "its scheduler_config.json");
  }
};

/// `model` and `schedule` hold a name and that plug-in's own options, which the registry's entry
/// checks.
struct RunConfig {
  DataConfig data;
  Json model = {{"network", "unet"}, {"parameterisation", "eps"}, {"variance", "small"}};
  Json schedule = {{"name", "linear"}};
  TrainConfig train;
  CheckpointConfig checkpoint;
  WatchConfig watch;
  SampleConfig sample;
  SourceConfig source;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("data", data, "");
    visit("model", model, "");
    visit("schedule", schedule, "");
    visit("train", train, "");
    visit("checkpoint", checkpoint, "");
    visit("watch", watch, "");
    visit("sample", sample, "");
    visit("source", source, "");
  }
};

/// A recipe of the program by name, or a TOML file by path, as JSON.  Throws Error if it cannot be
/// found or parsed.
Json read_recipe(const std::string& name_or_path);

/// Sets "train.batch=32" in a tree of options; the value is read as JSON, else taken as a text.
void set_option(Json& config, const std::string& assignment);

/// Checks every value that does not depend on data: positive sizes, known names, ranges.  Throws
/// Error.
RunConfig make_config(const Json& given);

}  // namespace tweedie
