// Samples of a table as a table.
#pragma once

#include <string>

#include "tweedie/jobs/model_file.h"

namespace tweedie {

/// Comma-separated values, names of the columns first: numbers in their own units, categories by
/// their names (of the largest coordinate).  x [B, D]; `columns` as Dataset::columns, or empty for
/// x0, x1, ...  Throws Error if their coordinates are not D.
std::string table_text(const Tensor& x, const Json& columns);

}  // namespace tweedie
