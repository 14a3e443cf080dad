// What a coarser tolerance costs and changes: the error of a solve against its evaluations.
#pragma once

#include "tweedie/jobs/example_table.h"
#include "tweedie/model/ode.h"

namespace tweedie {

/// Times the tolerance of each solve.
inline constexpr int64_t kCoarser[] = {10, 100, 1000};

/// Columns of the table: |change of log p| in nats against the solve at the tolerance itself, and
/// the evaluations of a solve (of that one too, at 1).
std::string solver_change_at(int64_t times);
std::string solver_cost_at(int64_t times);

/// How many examples of a batch are among the first 16 of all that are evaluated: those before a
/// place in the data, whatever the shards.  `limit`: see EvaluateRequest.
int64_t first_ones(const std::vector<int64_t>& indices, int64_t size, int64_t limit);

/// Those columns for one batch x, whose `fine` solve had `options`: its `first` examples are solved
/// again, the others have NaN.  So has a solve at a tolerance above 1, which would be none.
void add_solver_curve(ExampleTable& table, const Denoiser& denoiser, const Schedule& schedule,
                      const Tensor& x, const Condition& condition, OdeOptions options,
                      int64_t first, const LogProb& fine);

}  // namespace tweedie
