// Training: from a configuration and data to a run folder that samples, evaluates and continues.
#pragma once

#include <functional>
#include <string>

#include "tweedie/jobs/config.h"
#include "tweedie/jobs/model_file.h"

namespace tweedie {

struct TrainRequest {
  RunConfig config;
  std::string out;            // the run folder
  double budget_seconds = 0;  // 0: config.train.steps decide
  bool resume = false;
  std::string device = "auto";
};

struct TrainProgress {
  int64_t step = 0, steps = 0;  // steps = 0 when a budget decides
  double loss = 0, images_per_second = 0, seconds_left = 0;
  int64_t resident_bytes = 0;
};

struct TrainHooks {
  Log log;  // whole lines: what happened
  std::function<void(const TrainProgress&)>
      progress;                       // after every step; the caller decides when to draw
  std::function<bool()> interrupted;  // asked after every step; true: save and return
};

/// `diverged`: not finite again after three roll-backs, each with half the step; the log says what
/// to do.
enum class TrainEnd { finished, interrupted, diverged };

/// Throws Error on configurations, data and folders that cannot be used.
TrainEnd train(const TrainRequest& request, const Registry& registry, const TrainHooks& hooks);

}  // namespace tweedie
