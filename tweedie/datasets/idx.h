// Labelled images in a pair of IDX files.
#pragma once

#include <string>
#include <vector>

#include "tweedie/datasets/dataset.h"

namespace tweedie {

/// All images of a file, with labels if a file of them is named.  Throws Error on damaged files, on
/// counts that differ, and on a label without a class.
Dataset open_idx(const std::string& images, const std::string& labels,
                 std::vector<std::string> classes, const std::string& name);

}  // namespace tweedie
