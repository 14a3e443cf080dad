#include "tweedie/samplers/adaptive.h"

#include "tweedie/base/error.h"

namespace tweedie {

AdaptiveRange adaptive_range(const char* sampler, const Path& path) {
  check(bool(path.between) && !path.empty(), sampler, ": this path does not know its schedule");
  const bool to_data = path.back().sigma == 0;
  check(path.size() >= (to_data ? 3 : 2), sampler,
        ": needs two noisy levels, the first and the last; pass 2 steps or more");
  check(path.front().alpha > 0, sampler, ": cannot start at t = ", path.front().t,
        ", which has no signal (alpha = 0); lower t_max");
  return {path.front(), to_data ? path[path.size() - 2] : path.back(), to_data};
}

void spend(const char* sampler, int64_t& evaluations, int64_t more, int64_t most, const Level& at) {
  evaluations += more;
  check(evaluations <= most, sampler, ": a sample needs more than ", most,
        " evaluations (it has come to t = ", at.t, "); raise rtol, atol or max_evaluations");
}

Tensor arrive(const char* sampler, const Denoiser& denoiser, const Tensor& state,
              const AdaptiveRange& range, const Condition& condition, int64_t index,
              const Observer& observe) {
  if (!range.to_data) return state;
  const Tensor x0 = denoiser(state, range.end, condition).x0;
  check_finite(x0, sampler, index, range.end);
  if (observe) observe({index, range.end, clean, x0, x0});
  return x0;
}

}  // namespace tweedie
