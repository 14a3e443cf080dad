// What training and evaluation see of any data.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "tweedie/base/json.h"
#include "tweedie/model/batch.h"

namespace tweedie {

struct Dataset {
  std::string name;
  int64_t size = 0;
  std::vector<int64_t> shape;        // of one example: [C, H, W] or [D]
  int64_t levels = 0;                // 256 or 65536 for quantised data, 0 for continuous
  std::vector<std::string> classes;  // their names; empty where there are no labels
  Json columns = Json::array();      // of a table: what its coordinates mean (table.cpp)
  bool flip = false;                 // a horizontal mirror image is as probable as the image
  /// Examples [B, ...] in [-1, 1] (quantised value k is 2k/(levels-1) - 1), with labels where there
  /// are classes.
  std::function<Batch(at::ArrayRef<int64_t> indices)> get;
  /// Exact log-density in nats [B] at points [B, D], where it is known (toy mixtures); else empty.
  std::function<Tensor(const Tensor& x)> log_density;
};

}  // namespace tweedie
