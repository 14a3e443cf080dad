// A comparison of samplers as a table, a sentence, JSON and a picture.
#pragma once

#include <string>

#include "tweedie/jobs/compare_samplers.h"
#include "tweedie/jobs/plot.h"

namespace tweedie {

/// Rows of solvers, columns of budgets, and below what could not be run; lines end in \n.
std::string comparison_table(const SamplerComparison& comparison);

/// Which run needs the fewest evaluations for nearly the best error, as options of `tweedie
/// sample`, and what the reference's own error is.
std::string recommendation_words(const SamplerComparison& comparison);

/// Every number of it.
Json comparison_json(const SamplerComparison& comparison);

/// Error against evaluations, both logarithmic; the six best solvers at the middle budget in
/// colour.
Picture comparison_picture(const SamplerComparison& comparison, const std::string& model);

}  // namespace tweedie
