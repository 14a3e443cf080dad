// A training of a second's fraction, and an ear for what it says.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "tests/jobs/scratch.h"
#include "tweedie/base/files.h"
#include "tweedie/jobs/checkpoint.h"
#include "tweedie/jobs/train.h"

inline tweedie::RunConfig small_config() {
  tweedie::RunConfig config;
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
  tweedie::TrainHooks hooks() {
    return {.log = [this](const std::string& line) { lines.push_back(line); },
            .progress = {},
            .interrupted = {}};
  }
  int64_t count(const std::string& part) const {
    return std::count_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find(part) != std::string::npos;
    });
  }
  /// The first line that holds `part`; empty if none does.
  std::string first(const std::string& part) const {
    for (const std::string& line : lines)
      if (line.find(part) != std::string::npos) return line;
    return "";
  }
};

inline tweedie::TrainEnd train_to(const std::string& out, const tweedie::RunConfig& config,
                                  bool resume = false) {
  Heard heard;
  return tweedie::train({.config = config, .out = out, .resume = resume}, tweedie::builtin(),
                        heard.hooks());
}

inline std::string last_bytes(const std::string& run) {
  return tweedie::read_file(tweedie::list_checkpoints(run).at(0));
}
