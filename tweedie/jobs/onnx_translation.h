// What LibTorch records of a network, in ONNX's operators.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include <torch/csrc/jit/ir/ir.h>

#include "tweedie/base/error.h"
#include "tweedie/jobs/onnx_graph.h"

namespace tweedie {

/// A constant of the network has as many rows as the batch, and they differ: another batch would
/// tell whether it depends on it.
struct DiffersAlongBatch : Error {
  using Error::Error;
};

struct Recording {
  const torch::jit::Graph& graph;   // of doubles, with one output
  std::vector<std::string> inputs;  // names for its inputs
  int64_t batch;                    // a prime that is no factor of any other size
  std::unordered_map<const void*, std::string> weights;  // names, by where their values lie
};

/// Adds the operators that the output needs, and gives its name back.  Sizes are as recorded, but
/// for the batch's.  Throws Error naming an operation that has no rule.
std::string add_recording(const Recording& recording, OnnxGraph& onnx);

}  // namespace tweedie
