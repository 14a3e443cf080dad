// What LibTorch records of a network, in ONNX's operators.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
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

inline constexpr const char* kNoRule = "ONNX: this export has no rule for ";

/// A recording on its way to ONNX: what rules ask of the nodes and say of them.
class Translation {
 public:
  using Node = torch::jit::Node;
  using Value = torch::jit::Value;

  Translation(const Recording& recording, OnnxGraph& onnx);

  /// The graph's nodes in order, of which the output needs some; the output's name.
  std::string translate(const torch::jit::Graph& graph);

  OnnxGraph& onnx() { return onnx_; }
  int64_t batch() const { return batch_; }

  // Arguments of a node.

  bool known(const Value* value) const { return known_.count(value) > 0; }
  const torch::jit::IValue& constant_at(const Node* node, size_t i) const;
  int64_t integer(const Node* node, size_t i) const { return constant_at(node, i).toInt(); }
  std::vector<int64_t> integer_list(const Node* node, size_t i) const {
    return constant_at(node, i).toIntVector();
  }
  /// One number for each side of an image; one given counts for all.
  std::vector<int64_t> sides(const Node* node, size_t i) const;
  bool missing(const Node* node, size_t i) const;
  /// Its name in ONNX; constants are written down where they are asked for.
  std::string tensor(const Value* value);
  std::string tensor(const Node* node, size_t i) { return tensor(node->input(i)); }
  /// An operand of arithmetic, which is done on real numbers alone.
  std::string real(const Node* node, size_t i);
  /// A weight's own name.
  std::string name_for(const at::Tensor& constant) const;

  // Sizes, as recorded.

  static std::vector<int64_t> sizes(const Value* value);
  static int64_t dimensions(const Value* value) {
    return static_cast<int64_t>(sizes(value).size());
  }
  int64_t dimension(const Node* node, size_t i) const;

  // What several rules say.

  std::string reshaped(const std::string& x, std::vector<int64_t> to);
  std::string sliced(const std::string& x, int64_t dimension, int64_t begin, int64_t end);
  /// The node gives a list, whose names these are.
  std::string keep_parts(const Node* node, std::vector<std::string> parts);
  /// The value is memory without values yet; its name is that of its shape.
  void leave_unfilled(const Value* value) { unfilled_.insert(value); }
  const std::string& shape_like(const Value* unfilled) const { return names_.at(unfilled); }

 private:
  bool all_known(const Node* node) const;
  void translate(const Node* node);
  void compute(const Node* node);
  void check_filled(const Value* value) const;
  void unpack(const Node* node);

  OnnxGraph& onnx_;
  const int64_t batch_;
  const std::unordered_map<const void*, std::string>& weights_;  // by where their values lie
  std::unordered_map<const Value*, std::string> names_;
  std::unordered_map<const Value*, torch::jit::IValue> known_;
  std::unordered_set<const Value*> unfilled_;
  std::unordered_map<const Value*, std::vector<std::string>> parts_;
};

/// Adds the operators that the output needs, and gives its name back.  Sizes are as recorded, but
/// for the batch's.  Throws Error naming an operation that has no rule.
std::string add_recording(const Recording& recording, OnnxGraph& onnx);

}  // namespace tweedie
