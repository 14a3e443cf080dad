// What data are, before anybody trains on them.
#pragma once

#include <string>

#include "tweedie/datasets/dataset.h"

namespace tweedie {

/// Examples, shape, levels, range, mean and deviation (of the first `limit` examples), how many
/// there are of each class, and what a table's columns are.
Json describe_data(const Dataset& data, int64_t limit);

/// Examples spread over the dataset, as samples_picture draws them.
Tensor examples_picture(const Dataset& data);

/// Examples and labels as arrays "x" and "labels" of an .npz (with `limit` 0: all of them).
void write_arrays(const Dataset& data, int64_t limit, const std::string& path);

}  // namespace tweedie
