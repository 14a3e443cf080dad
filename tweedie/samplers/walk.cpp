#include "tweedie/samplers/walk.h"

#include <torch/utils.h>

namespace tweedie {

Tensor walk(const char* sampler, Tensor x, const Path& path, const Observer& observe,
            const OneStep& step) {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    const int64_t index = static_cast<int64_t>(i);
    const Stepped done = step(x, path[i], path[i + 1], index);
    x = done.x;
    check_finite(x, sampler, index, path[i]);
    if (observe) observe({index, path[i], path[i + 1], x, done.x0});
  }
  return x;
}

}  // namespace tweedie
