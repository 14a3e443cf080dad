#include "tweedie/samplers/ode.h"

#include <torch/utils.h>

#include "tweedie/base/error.h"
#include "tweedie/model/flow_slope.h"

namespace tweedie {
namespace {

/// x at `to`, from x at `from`, both with signal and noise.
Tensor carried(const Denoiser& denoiser, const Tensor& x, const Level& from, const Level& to,
               const Curve& between, const Condition& condition, const OdeSamplerOptions& options) {
  const DormandPrinceOptions solver{
      .rtol = options.rtol, .atol = options.atol, .max_evaluations = options.max_evaluations};
  const OdeSolution solution = dormand_prince(flow_slope(denoiser, between, condition, x),
                                              x.to(at::kCPU, at::kDouble) / from.alpha, 0,
                                              log_ratio(from), log_ratio(to), solver);
  check_finished(solution, between, solver, "ode");
  return (to.alpha * solution.y).to(x.options());
}

}  // namespace

Sampler ode(OdeSamplerOptions options) {
  check(options.rtol > 0 && options.atol > 0, "ode: tolerances must be above 0, got rtol ",
        options.rtol, " and atol ", options.atol);
  check(options.max_evaluations >= 10, "ode: expected max_evaluations of 10 or more, got ",
        options.max_evaluations);
  return [options](const Denoiser& given, Tensor x, const Path& path, const Condition& condition,
                   const Noise&, const Observer& observe) {
    const torch::NoGradGuard no_grad;
    if (path.size() < 2) return x;
    const Denoiser denoiser = options.clip ? clipped(given) : given;
    int64_t step = 0;
    const auto arrive = [&](const Level& from, const Level& to, const Tensor& at,
                            const Tensor& x0) {
      x = at;
      check_finite(x, "ode", step, from);
      if (observe) observe({step, from, to, x, x0});
      ++step;
    };
    const bool to_data = path.back().sigma == 0;
    const size_t noisy = path.size() - (to_data ? 1 : 0);
    size_t first = 0;
    Tensor x0;  // predicted at the last noisy level
    if (noisy > 0 && path[0].alpha == 0) {
      const Level &from = path[0], &to = path[1];
      const Tensor guess = denoiser(x, from, condition).x0;
      arrive(from, to, to.alpha * guess + to.sigma * eps_from_x0(x, guess, from), guess);
      first = 1;
    }
    if (first + 1 < noisy) {
      const Level &from = path[first], &to = path[noisy - 1];
      check(static_cast<bool>(path.between),
            "ode: the path was made by hand and has no levels between those listed; use one of a "
            "schedule");
      const Tensor at = carried(denoiser, x, from, to, path.between, condition, options);
      if (to_data || observe) x0 = denoiser(at, to, condition).x0;
      arrive(from, to, at, x0);
    }
    if (!to_data || noisy == first) return x;
    const Level& last = path[noisy - 1];
    if (!x0.defined()) x0 = denoiser(x, last, condition).x0;
    arrive(last, path.back(), x0, x0);
    return x;
  };
}

}  // namespace tweedie
