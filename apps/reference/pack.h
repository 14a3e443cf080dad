// A pack of reference numbers on disk: what other systems' own code computed, case by case.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "tweedie/base/json.h"

namespace tweedie::reference {

using at::Tensor;

/// One row of a pack's index, and its tensors: inputs and expected outputs, float64 unless noted.
struct Case {
  std::string id, group, peer;
  Json config;       // every input that is no tensor
  Json row;          // the whole row of the index
  Json gmms;         // the pack's Gaussian mixtures: where their tensors are
  std::string root;  // the pack's folder, which the files of the row and of `gmms` are relative to
  std::map<std::string, Tensor> tensors;

  bool has(const std::string& name) const { return tensors.contains(name); }
  /// Throws Error naming the case if there is no such tensor.
  const Tensor& tensor(const std::string& name) const;
  /// The path of a file of the pack.
  std::string path(const std::string& relative) const;
};

class Pack {
 public:
  /// Reads `folder`/index.json.  Throws Error if it is missing, damaged or of another format.
  explicit Pack(std::string folder);

  /// The rows of the index, in their order.
  const std::vector<Json>& rows() const { return rows_; }
  /// Reads the row's tensors.  Throws Error if the file is missing or damaged.
  Case load(const Json& row) const;

 private:
  std::string folder_;
  Json gmms_;
  std::vector<Json> rows_;
};

}  // namespace tweedie::reference
