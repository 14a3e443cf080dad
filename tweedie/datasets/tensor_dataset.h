// Examples that are the rows of a tensor.
#pragma once

#include "tweedie/datasets/dataset.h"

namespace tweedie {

struct TensorExamples {
  Tensor values;  // [N, ...]: whole numbers 0..levels-1, or anything if levels is 0
  Tensor labels;  // int64 [N], or undefined
  int64_t levels = 0;
  std::vector<std::string> classes;  // their names
};

/// The examples at `places`.  Throws Error on a label without a class, and on values out of range
/// when they are asked for.
Dataset tensor_dataset(TensorExamples examples, const std::vector<int64_t>& places,
                       const std::string& name);

/// 0, 1, ... as their own names, as many as the labels need; none without labels.  Throws Error on
/// a label below 0 or above 65535.
std::vector<std::string> numbered_classes(const Tensor& labels, const std::string& name);

/// All of them.
std::vector<int64_t> all_places(const Tensor& values);

}  // namespace tweedie
