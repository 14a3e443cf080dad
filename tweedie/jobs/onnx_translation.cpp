#include "tweedie/jobs/onnx_translation.h"

#include <algorithm>

#include "tweedie/jobs/onnx_rules.h"

namespace tweedie {
namespace {

using torch::jit::IValue;
using torch::jit::Node;
using torch::jit::Stack;
using torch::jit::Value;

std::unordered_set<const Node*> needed_for(const Value* output) {
  std::unordered_set<const Node*> needed;
  std::vector<const Node*> open = {output->node()};
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    if (!needed.insert(node).second) continue;
    for (const Value* input : node->inputs()) open.push_back(input->node());
  }
  return needed;
}

}  // namespace

Translation::Translation(const Recording& recording, OnnxGraph& onnx)
    : onnx_(onnx), batch_(recording.batch), weights_(recording.weights) {
  for (size_t i = 0; i < recording.inputs.size(); ++i)
    names_[recording.graph.inputs()[i]] = recording.inputs[i];
}

std::string Translation::translate(const torch::jit::Graph& graph) {
  const Value* output = graph.outputs()[0];
  const std::unordered_set<const Node*> needed = needed_for(output);
  for (const Node* node : graph.nodes())
    if (needed.count(node) > 0) translate(node);
  return tensor(output);
}

bool Translation::all_known(const Node* node) const {
  return std::all_of(node->inputs().begin(), node->inputs().end(),
                     [this](const Value* input) { return known(input); });
}

void Translation::translate(const Node* node) {
  const std::string kind = node->kind().toQualString();
  if (kind == "prim::Constant") {
    known_[node->output()] = *torch::jit::toIValue(node->output());
  } else if (all_known(node)) {
    compute(node);
  } else if (kind == "prim::ListConstruct") {
    // What is made of it looks at its elements.
  } else if (kind == "prim::ListUnpack") {
    unpack(node);
  } else {
    const auto rule = onnx_rules().find(kind);
    check(rule != onnx_rules().end(), "ONNX: the network does '", kind,
          "', which this export has no rule for");
    names_[node->output()] = rule->second(*this, node);
  }
}

/// What does not depend on the inputs is computed now.
void Translation::compute(const Node* node) {
  Stack stack;
  for (const Value* input : node->inputs()) {
    if (node->kind() != at::aten::fill_) check_filled(input);
    stack.push_back(known_.at(input));
  }
  if (node->kind() == at::aten::empty || node->kind() == at::aten::empty_like)
    unfilled_.insert(node->output());
  if (node->kind() == torch::jit::prim::ListConstruct) {
    c10::impl::GenericList list(node->output()->type()->containedType(0));
    for (const IValue& element : stack) list.push_back(element);
    known_[node->output()] = list;
    return;
  }
  node->getOperation()(stack);
  for (size_t i = 0; i < node->outputs().size(); ++i) known_[node->outputs()[i]] = stack[i];
}

void Translation::check_filled(const Value* value) const {
  check(unfilled_.count(value) == 0,
        "ONNX: the network fills a tensor in a way that LibTorch does not record; "
        "torch::tensor() makes constants that it does");
}

void Translation::unpack(const Node* node) {
  const auto parts = parts_.find(node->input());
  check(parts != parts_.end(), "ONNX: a list is taken apart that is not made by chunk or unbind");
  for (size_t i = 0; i < node->outputs().size(); ++i) names_[node->outputs()[i]] = parts->second[i];
}

const IValue& Translation::constant_at(const Node* node, size_t i) const {
  const auto found = known_.find(node->input(i));
  check(found != known_.end(), "ONNX: an argument of '", node->kind().toQualString(),
        "' depends on the input, which this export has no rule for");
  return found->second;
}

std::vector<int64_t> Translation::sides(const Node* node, size_t i) const {
  std::vector<int64_t> out = integer_list(node, i);
  if (out.size() == 1) out.resize(static_cast<size_t>(dimensions(node->input(0))) - 2, out[0]);
  return out;
}

bool Translation::missing(const Node* node, size_t i) const {
  return known(node->input(i)) && known_.at(node->input(i)).isNone();
}

std::string Translation::real(const Node* node, size_t i) {
  const auto type = node->output()->type()->cast<torch::jit::TensorType>();
  check(type && type->scalarType() && at::isFloatingType(*type->scalarType()), kNoRule, "'",
        node->kind().toQualString(), "' of whole numbers");
  return tensor(node, i);
}

std::string Translation::tensor(const Value* value) {
  check_filled(value);
  const auto found = names_.find(value);
  if (found != names_.end()) return found->second;
  const IValue& is = known_.at(value);
  at::Tensor held = is.isTensor() ? is.toTensor() : at::scalar_tensor(is.toScalar(), at::kDouble);
  check(held.is_floating_point() || held.scalar_type() == at::kLong, kNoRule, "tensors of ",
        c10::toString(held.scalar_type()));
  if (held.dim() > 0 && held.size(0) == batch_) {
    if (!(held == held.narrow(0, 0, 1)).all().item<bool>())
      throw DiffersAlongBatch("ONNX: a constant of the network differs along the batch");
    held = held.narrow(0, 0, 1);
  }
  return names_[value] = onnx_.constant(held, name_for(held));
}

std::string Translation::name_for(const at::Tensor& constant) const {
  const auto weight = weights_.find(constant.data_ptr());
  return weight == weights_.end() ? "constant" : weight->second;
}

std::vector<int64_t> Translation::sizes(const Value* value) {
  const auto type = value->type()->cast<torch::jit::TensorType>();
  check(type && type->sizes().concrete_sizes(), "ONNX: LibTorch has not recorded the size of '",
        value->debugName(), "'");
  return *type->sizes().concrete_sizes();
}

int64_t Translation::dimension(const Node* node, size_t i) const {
  const int64_t given = integer(node, i);
  return given < 0 ? given + dimensions(node->input(0)) : given;
}

std::string Translation::reshaped(const std::string& x, std::vector<int64_t> to) {
  int64_t open = 0;
  for (int64_t& size : to)
    if (size % batch_ == 0) {
      size = -1;
      ++open;
    }
  check(open <= 1, kNoRule, "two dimensions that depend on the batch");
  return onnx_.add("Reshape", {x, onnx_.integers(to)});
}

std::string Translation::sliced(const std::string& x, int64_t dimension, int64_t begin,
                                int64_t end) {
  check(dimension != 0, kNoRule, "a part of the batch");
  return onnx_.add(
      "Slice", {x, onnx_.integers({begin}), onnx_.integers({end}), onnx_.integers({dimension})});
}

std::string Translation::keep_parts(const Node* node, std::vector<std::string> parts) {
  parts_[node->output()] = std::move(parts);
  return "";
}

std::string add_recording(const Recording& recording, OnnxGraph& onnx) {
  return Translation(recording, onnx).translate(recording.graph);
}

}  // namespace tweedie
