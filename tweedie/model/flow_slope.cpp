#include "tweedie/model/flow_slope.h"

#include <torch/utils.h>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

void check_prediction(const Tensor& x0, Levels levels, at::ArrayRef<int64_t> examples) {
  const Tensor finite = at::isfinite(x0).flatten(1).all(1).cpu();
  if (finite.all().item<bool>()) return;
  const int64_t bad = (~finite).nonzero()[0].item<int64_t>();
  const Level& level = levels[static_cast<size_t>(bad)];
  fail("probability flow: the denoiser's answer for example ", examples[static_cast<size_t>(bad)],
       " of the batch is not finite at t = ", level.t, " (alpha ", level.alpha, ", sigma ",
       level.sigma, "); the model's weights may have diverged: use an earlier checkpoint");
}

/// The slope; with a trace, its rates too.
Slope evaluate(const Denoiser& denoiser, const Curve& curve, const Condition& condition,
               const Tensor& like, const Trace* trace, at::ArrayRef<double> log_ratios,
               const Tensor& y, at::ArrayRef<int64_t> examples) {
  std::vector<Level> levels;
  for (const double log_ratio : log_ratios) levels.push_back(curve(-2 * log_ratio));
  const Tensor rows = at::tensor(examples, at::kLong);
  const Tensor alpha = per_example(
      levels, [](const Level& l) { return l.alpha; }, y);
  const Tensor x = (alpha * y).to(like.options());
  const torch::AutoGradMode gradients(trace != nullptr);
  x.requires_grad_(trace != nullptr);
  const Tensor x0 = denoiser(x, levels, condition.rows(rows)).x0;
  check_prediction(x0.detach(), levels, examples);
  Slope slope{y - x0.detach().to(at::kCPU, at::kDouble), {}};
  if (trace == nullptr) return slope;
  const Tensor column = alpha.flatten(1);  // [A, 1]
  if (trace->probes.empty()) {
    slope.sums = static_cast<double>(y[0].numel()) - column * jacobian_trace(x0, x);
    return slope;
  }
  std::vector<Tensor> probes, squares;
  for (const Tensor& probe : trace->probes) {
    probes.push_back(probe.index_select(0, rows));
    squares.push_back(row_dots(probes.back(), probes.back()));
  }
  slope.sums = at::stack(squares, 1) - column * probe_jacobian(x0, x, probes);
  return slope;
}

}  // namespace

SlopeOf flow_slope(const Denoiser& denoiser, const Curve& curve, const Condition& condition,
                   const Tensor& like) {
  return [=](at::ArrayRef<double> at, const Tensor& y, at::ArrayRef<int64_t> examples) {
    return evaluate(denoiser, curve, condition, like, nullptr, at, y, examples);
  };
}

SlopeOf flow_slope(const Denoiser& denoiser, const Curve& curve, const Condition& condition,
                   const Tensor& like, const Trace& trace) {
  return [=](at::ArrayRef<double> at, const Tensor& y, at::ArrayRef<int64_t> examples) {
    return evaluate(denoiser, curve, condition, like, &trace, at, y, examples);
  };
}

std::vector<Unfinished> unfinished_of(const OdeSolution& solution, const Curve& curve) {
  std::vector<Unfinished> out;
  for (const int64_t example : solution.unfinished)
    out.push_back({example, curve(-2 * solution.reached[static_cast<size_t>(example)])});
  return out;
}

void check_finished(const OdeSolution& solution, const Curve& curve,
                    const DormandPrinceOptions& options, const char* who) {
  const std::vector<Unfinished> unfinished = unfinished_of(solution, curve);
  if (unfinished.empty()) return;
  const auto& [first, level] = unfinished.front();
  fail(who, ": ", unfinished.size(), " of ", solution.reached.size(),
       " examples did not reach the end within ", options.max_evaluations,
       " evaluations at tolerance ", options.rtol, " (example ", first,
       " of the batch stopped at t = ", level.t, ", sigma / alpha = ", level.sigma / level.alpha,
       ", after ", solution.evaluations[static_cast<size_t>(first)],
       "); allow more evaluations or a larger tolerance");
}

}  // namespace tweedie
