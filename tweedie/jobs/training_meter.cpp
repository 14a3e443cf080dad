#include "tweedie/jobs/training_meter.h"

#include <algorithm>
#include <fstream>

#include <unistd.h>

namespace tweedie {

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

void TrainingMeter::count(const StepLosses& step, double gradient_norm, double seconds) {
  ++window_.steps;
  window_.examples += static_cast<int64_t>(step.losses.size());
  window_.loss += step.mean;
  window_.gradient_norm += gradient_norm;
  for (size_t i = 0; i < step.levels.size(); ++i) {
    const int quartile =
        std::clamp(static_cast<int>(4 * (step.levels[i].t - t_min_) / t_range_), 0, 3);
    window_.quartile_loss[quartile] += step.losses[i];
    window_.quartile_count[quartile] += 1;
  }
  seconds_per_step_ = seconds_per_step_ == 0 ? seconds : 0.95 * seconds_per_step_ + 0.05 * seconds;
}

Json TrainingMeter::take() {
  const double steps = static_cast<double>(window_.steps);
  Json quartiles = Json::array();
  for (int i = 0; i < 4; ++i)
    quartiles.push_back(window_.quartile_count[i] > 0
                            ? Json(window_.quartile_loss[i] / window_.quartile_count[i])
                            : Json());
  const Json out = {
      {"loss", window_.loss / steps},
      {"loss_by_t_quartile", quartiles},
      {"gradient_norm", window_.gradient_norm / steps},
      {"images_per_second", static_cast<double>(window_.examples) / seconds_since(window_.start)},
      {"resident_bytes", resident_bytes()}};
  restart();
  return out;
}

}  // namespace tweedie
