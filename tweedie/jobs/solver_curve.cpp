#include "tweedie/jobs/solver_curve.h"

#include <algorithm>
#include <cmath>

namespace tweedie {
namespace {

constexpr int64_t kCurveExamples = 16;

Tensor padded_with_nan(const Tensor& values, int64_t rows) {
  const Tensor rest = at::full({rows - values.size(0)}, std::nan(""), at::kDouble);
  return at::cat({values.to(at::kDouble), rest});
}

}  // namespace

std::string solver_change_at(int64_t times) {
  return "change at " + std::to_string(times) + " times the tolerance";
}

std::string solver_cost_at(int64_t times) {
  return "evaluations at " + std::to_string(times) + " times the tolerance";
}

int64_t first_ones(const std::vector<int64_t>& indices, int64_t size, int64_t limit) {
  const int64_t examples = limit > 0 ? std::min(limit, size) : size;
  const int64_t end = kCurveExamples < examples ? kCurveExamples * size / examples : size;
  return std::count_if(indices.begin(), indices.end(), [&](int64_t index) { return index < end; });
}

void add_solver_curve(ExampleTable& table, const Denoiser& denoiser, const Schedule& schedule,
                      const Tensor& x, const Condition& condition, OdeOptions options,
                      int64_t first, const LogProb& fine) {
  const int64_t rows = x.size(0);
  Tensor own_cost = fine.evaluations;
  if (options.numerical_error) own_cost = own_cost - fine.second_solve;
  table.add(solver_cost_at(1), padded_with_nan(own_cost.slice(0, 0, first), rows));
  const OdeOptions asked = options;
  options.numerical_error = false;
  options.samples.resize(static_cast<size_t>(first));
  const Condition of_first = condition.rows(at::arange(first));
  for (const int64_t times : kCoarser) {
    Tensor change = at::empty({0}, at::kDouble), cost = change;
    options.rtol = static_cast<double>(times) * asked.rtol;
    options.atol = static_cast<double>(times) * asked.atol;
    if (times == 10 && asked.numerical_error) {
      change = fine.numerical_error.slice(0, 0, first);
      cost = fine.second_solve.slice(0, 0, first);
    } else if (first > 0 && std::max(options.rtol, options.atol) <= 1) {
      const LogProb coarse =
          ode_log_prob(denoiser, schedule, x.slice(0, 0, first), of_first, options);
      change = (coarse.nats - fine.nats.slice(0, 0, first)).abs();
      cost = coarse.evaluations;
    }
    table.add(solver_change_at(times), padded_with_nan(change, rows));
    table.add(solver_cost_at(times), padded_with_nan(cost, rows));
  }
}

}  // namespace tweedie
