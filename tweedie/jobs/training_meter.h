// What training measures of itself as it goes.
#pragma once

#include "tweedie/base/clock.h"
#include "tweedie/jobs/training_loss.h"

namespace tweedie {

/// Means over the steps since the last line of metrics.jsonl, and the time that a step takes.
class TrainingMeter {
 public:
  explicit TrainingMeter(const Schedule& schedule)
      : t_min_(schedule.t_min), t_range_(schedule.t_max - schedule.t_min) {}

  /// One step's losses, the norm of its gradient, and how long it took.
  void count(const StepLosses& step, double gradient_norm, double seconds);
  /// A moving average; 0 before the first step.
  double seconds_per_step() const { return seconds_per_step_; }

  /// loss, loss_by_t_quartile (from clean to noise), gradient_norm, images_per_second and
  /// resident_bytes of the steps counted; the next begin anew.
  Json take();
  /// Forgets the steps counted.
  void restart() { window_ = {}; }

 private:
  struct Window {
    int64_t steps = 0, examples = 0;
    double loss = 0, gradient_norm = 0;
    double quartile_loss[4] = {}, quartile_count[4] = {};
    Clock::time_point start = Clock::now();
  };
  double t_min_, t_range_, seconds_per_step_ = 0;
  Window window_;
};

/// Memory that the process has of the machine.
int64_t resident_bytes();

}  // namespace tweedie
