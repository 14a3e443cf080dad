// The right-hand side of the probability flow in y = x / alpha against log(sigma / alpha).
#pragma once

#include <vector>

#include "tweedie/model/denoiser.h"
#include "tweedie/model/divergence.h"
#include "tweedie/model/dormand_prince.h"
#include "tweedie/process/flow_range.h"

namespace tweedie {

/// dy/dlog(sigma/alpha) = y - E[x_0 | x] = (sigma/alpha) eps, on every schedule.  The denoiser sees
/// x = alpha y in `like`'s type and device.  Throws Error where its answer is not finite, naming
/// the level.
SlopeOf flow_slope(const Denoiser& denoiser, const Curve& curve, const Condition& condition,
                   const Tensor& like);

/// How the divergence is taken: probes [B, ...] of the whole batch, or exactly if there are none.
struct Trace {
  std::vector<Tensor> probes;

  int64_t count() const { return probes.empty() ? 1 : static_cast<int64_t>(probes.size()); }
};

/// The same with the divergence in y as the rate of the sums, one for each probe: of the flow's
/// Jacobian A = 1 - alpha d E[x_0 | x] / dx, v^T A v or its trace.  One evaluation of the denoiser
/// and one backward pass a probe (exact: a dimension), to x alone.
SlopeOf flow_slope(const Denoiser& denoiser, const Curve& curve, const Condition& condition,
                   const Tensor& like, const Trace& trace);

/// An example that used up its evaluations, and how far it got.
struct Unfinished {
  int64_t example;  // its place in the batch
  Level reached;
};
std::vector<Unfinished> unfinished_of(const OdeSolution& solution, const Curve& curve);

/// Throws Error that says how far the first of those got that did not reach the end.
void check_finished(const OdeSolution& solution, const Curve& curve,
                    const DormandPrinceOptions& options, const char* who);

}  // namespace tweedie
