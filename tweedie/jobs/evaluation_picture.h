// An evaluation as a picture: its value in words, and what it is made of as charts.
#pragma once

#include "tweedie/jobs/evaluate.h"
#include "tweedie/jobs/plot.h"

namespace tweedie {

/// vlb: what the levels contribute to the diffusion term, in the value's unit (bits/dim or
/// nats/dim), from noise to data.  Each bar sums as many adjacent levels; heights add up to the
/// term.  A bar none of whose levels was drawn is a gap.
LineChart level_chart(const Evaluation& evaluation);

/// The same for each unit of log-SNR, which does not depend on the schedule: the areas of the bars
/// add up to the term, but for levels of pure noise (log-SNR below -40 or infinite).
LineChart log_snr_chart(const Evaluation& evaluation);

/// ais: how log w scatters around its mean over the example's paths, in nats; no series for one
/// path.
LineChart weight_chart(const Evaluation& evaluation);

/// ais: importance_bound of 1, 2, 4 .. K paths, in the value's unit, with its standard error over
/// the examples, against network evaluations; the last point is the value.
LineChart bound_chart(const Evaluation& evaluation);

/// ode and exact: mean |change of log p| in nats against the solve at the tolerance itself, for
/// coarser ones, against evaluations; no series where EvaluateRequest::solver_curve was not asked.
LineChart solver_chart(const Evaluation& evaluation);

/// How the value scatters over the examples, in its unit.
LineChart value_chart(const Evaluation& evaluation);

/// The value with its error, method, `model` and lines_of in words, and the charts of the method.
Picture evaluation_picture(const Evaluation& evaluation, const std::string& model);

}  // namespace tweedie
