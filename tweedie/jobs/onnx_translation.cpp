#include "tweedie/jobs/onnx_translation.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <unordered_set>

namespace tweedie {
namespace {

using torch::jit::IValue;
using torch::jit::Node;
using torch::jit::Stack;
using torch::jit::Value;

constexpr const char* kNoRule = "ONNX: this export has no rule for ";

class Translation {
 public:
  Translation(const Recording& recording, OnnxGraph& onnx)
      : onnx_(onnx), batch_(recording.batch), weights_(recording.weights) {
    for (size_t i = 0; i < recording.inputs.size(); ++i)
      names_[recording.graph.inputs()[i]] = recording.inputs[i];
  }

  /// The graph's nodes in order, of which the output needs some.
  std::string translate(const torch::jit::Graph& graph) {
    const Value* output = graph.outputs()[0];
    const std::unordered_set<const Node*> needed = needed_for(output);
    for (const Node* node : graph.nodes())
      if (needed.count(node) > 0) translate(node);
    return tensor(output);
  }

 private:
  using Rule = std::function<std::string(Translation&, const Node*)>;

  static std::unordered_set<const Node*> needed_for(const Value* output) {
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

  bool known(const Value* value) const { return known_.count(value) > 0; }
  bool all_known(const Node* node) const {
    return std::all_of(node->inputs().begin(), node->inputs().end(),
                       [this](const Value* input) { return known(input); });
  }

  void translate(const Node* node) {
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
      const auto rule = rules().find(kind);
      check(rule != rules().end(), "ONNX: the network does '", kind,
            "', which this export has no rule for");
      names_[node->output()] = rule->second(*this, node);
    }
  }

  /// What does not depend on the inputs is computed now.
  void compute(const Node* node) {
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

  void check_filled(const Value* value) const {
    check(unfilled_.count(value) == 0,
          "ONNX: the network fills a tensor in a way that LibTorch does not record; "
          "torch::tensor() makes constants that it does");
  }

  void unpack(const Node* node) {
    const auto parts = parts_.find(node->input());
    check(parts != parts_.end(), "ONNX: a list is taken apart that is not made by chunk or unbind");
    for (size_t i = 0; i < node->outputs().size(); ++i)
      names_[node->outputs()[i]] = parts->second[i];
  }

  // Arguments of a node.

  const IValue& constant_at(const Node* node, size_t i) const {
    const auto found = known_.find(node->input(i));
    check(found != known_.end(), "ONNX: an argument of '", node->kind().toQualString(),
          "' depends on the input, which this export has no rule for");
    return found->second;
  }
  int64_t integer(const Node* node, size_t i) const { return constant_at(node, i).toInt(); }
  std::vector<int64_t> integer_list(const Node* node, size_t i) const {
    return constant_at(node, i).toIntVector();
  }
  /// One number for each side of an image; one given counts for all.
  std::vector<int64_t> sides(const Node* node, size_t i) const {
    std::vector<int64_t> out = integer_list(node, i);
    if (out.size() == 1) out.resize(static_cast<size_t>(dimensions(node->input(0))) - 2, out[0]);
    return out;
  }
  bool missing(const Node* node, size_t i) const {
    return known(node->input(i)) && known_.at(node->input(i)).isNone();
  }
  std::string tensor(const Node* node, size_t i) { return tensor(node->input(i)); }

  /// An operand of arithmetic, which is done on real numbers alone.
  std::string real(const Node* node, size_t i) {
    const auto type = node->output()->type()->cast<torch::jit::TensorType>();
    check(type && type->scalarType() && at::isFloatingType(*type->scalarType()), kNoRule, "'",
          node->kind().toQualString(), "' of whole numbers");
    return tensor(node, i);
  }

  std::string tensor(const Value* value) {
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
    const auto weight = weights_.find(held.data_ptr());
    return names_[value] =
               onnx_.constant(held, weight == weights_.end() ? "constant" : weight->second);
  }

  // Sizes, as recorded.

  static std::vector<int64_t> sizes(const Value* value) {
    const auto type = value->type()->cast<torch::jit::TensorType>();
    check(type && type->sizes().concrete_sizes(), "ONNX: LibTorch has not recorded the size of '",
          value->debugName(), "'");
    return *type->sizes().concrete_sizes();
  }
  static int64_t dimensions(const Value* value) {
    return static_cast<int64_t>(sizes(value).size());
  }
  int64_t dimension(const Node* node, size_t i) const {
    const int64_t given = integer(node, i);
    return given < 0 ? given + dimensions(node->input(0)) : given;
  }

  std::string reshaped(const std::string& x, std::vector<int64_t> to) {
    int64_t open = 0;
    for (int64_t& size : to)
      if (size % batch_ == 0) {
        size = -1;
        ++open;
      }
    check(open <= 1, kNoRule, "two dimensions that depend on the batch");
    return onnx_.add("Reshape", {x, onnx_.integers(to)});
  }

  std::string sliced(const std::string& x, int64_t dimension, int64_t begin, int64_t end) {
    check(dimension != 0, kNoRule, "a part of the batch");
    return onnx_.add(
        "Slice", {x, onnx_.integers({begin}), onnx_.integers({end}), onnx_.integers({dimension})});
  }

  // Rules for kinds of operations.

  static Rule operation(const std::string& op) {
    return [op](Translation& t, const Node* n) {
      check(n->inputs().size() == 1, kNoRule, "an option of '", n->kind().toQualString(), "'");
      return t.onnx_.add(op, {t.real(n, 0)});
    };
  }
  static Rule pair(const std::string& op) {
    return [op](Translation& t, const Node* n) {
      check(n->inputs().size() == 2, kNoRule, "the rounding of '", n->kind().toQualString(), "'");
      return t.onnx_.add(op, {t.real(n, 0), t.real(n, 1)});
    };
  }
  /// x + alpha y and x - alpha y.
  static Rule sum(const std::string& op) {
    return [op](Translation& t, const Node* n) {
      check(t.constant_at(n, 2).toScalar().toDouble() == 1, kNoRule, "a sum with a factor");
      return t.onnx_.add(op, {t.real(n, 0), t.real(n, 1)});
    };
  }
  /// What 1 - x begins with: memory like x's, then filled with 1.
  static std::string empty_like(Translation& t, const Node* n) {
    t.unfilled_.insert(n->output());
    return t.onnx_.add("Shape", {t.tensor(n, 0)});
  }
  static std::string fill(Translation& t, const Node* n) {
    const Value* like = n->input(0);
    check(like->node()->kind() == at::aten::empty_like, kNoRule, "filling a tensor in use");
    return t.onnx_.add("Expand", {t.tensor(n, 1), t.names_.at(like)});
  }

  /// To the sizes that the result has.
  static std::string resize(Translation& t, const Node* n) {
    return t.reshaped(t.tensor(n, 0), sizes(n->output()));
  }

  static std::string silu(Translation& t, const Node* n) {
    const std::string x = t.tensor(n, 0);
    return t.onnx_.add("Mul", {x, t.onnx_.add("Sigmoid", {x})});
  }

  static std::string mish(Translation& t, const Node* n) {
    const std::string x = t.tensor(n, 0);
    return t.onnx_.add("Mul", {x, t.onnx_.add("Tanh", {t.onnx_.add("Softplus", {x})})});
  }

  static std::string gelu(Translation& t, const Node* n) {
    const std::string x = t.tensor(n, 0);
    const auto number = [&](double value) {
      return t.onnx_.constant(at::scalar_tensor(value, at::kDouble));
    };
    const auto add = [&](const char* op, const std::string& a, const std::string& b) {
      return t.onnx_.add(op, {a, b});
    };
    std::string inner;
    if (t.constant_at(n, 1).toStringRef() == "tanh") {  // sqrt(2 / pi) (x + 0.044715 x^3)
      const std::string cubic = add("Mul", add("Mul", add("Mul", x, x), x), number(0.044715));
      inner = t.onnx_.add("Tanh", {add("Mul", add("Add", x, cubic), number(std::sqrt(M_2_PI)))});
    } else {
      inner = t.onnx_.add("Erf", {add("Mul", x, number(std::sqrt(0.5)))});
    }
    return add("Mul", add("Mul", x, number(0.5)), add("Add", inner, number(1)));
  }

  static std::string linear(Translation& t, const Node* n) {
    const at::Tensor weight = t.constant_at(n, 1).toTensor();
    const auto name = t.weights_.find(weight.data_ptr());
    const std::string product = t.onnx_.add(
        "MatMul",
        {t.tensor(n, 0),
         t.onnx_.constant(weight.t(), name == t.weights_.end() ? "constant" : name->second)});
    return t.missing(n, 2) ? product : t.onnx_.add("Add", {product, t.tensor(n, 2)});
  }

  static std::string addmm(Translation& t, const Node* n) {
    check(t.constant_at(n, 3).toScalar().toDouble() == 1 &&
              t.constant_at(n, 4).toScalar().toDouble() == 1,
          kNoRule, "addmm with factors");
    return t.onnx_.add("Gemm", {t.tensor(n, 1), t.tensor(n, 2), t.tensor(n, 0)});
  }

  static std::string convolution(Translation& t, const Node* n) {
    const std::vector<int64_t> padding = t.sides(n, 4);
    std::vector<int64_t> pads = padding;  // at the beginnings, then at the ends
    pads.insert(pads.end(), padding.begin(), padding.end());
    const bool transposed = t.constant_at(n, 6).toBool();
    OnnxGraph::Attributes attributes = {{"strides", t.sides(n, 3)},
                                        {"pads", pads},
                                        {"dilations", t.sides(n, 5)},
                                        {"group", t.integer(n, 8)}};
    if (transposed) attributes["output_padding"] = t.sides(n, 7);
    std::vector<std::string> inputs = {t.tensor(n, 0), t.tensor(n, 1)};
    if (!t.missing(n, 2)) inputs.push_back(t.tensor(n, 2));
    return t.onnx_.add(transposed ? "ConvTranspose" : "Conv", inputs, attributes);
  }

  /// Before opset 21 there is none: an instance's norm over rows of one group each.
  static std::string group_norm(Translation& t, const Node* n) {
    const int64_t groups = t.integer(n, 1), channels = sizes(n->input(0))[1];
    const auto ones = at::ones({groups}), zeros = at::zeros({groups});
    const std::string rows =
        t.onnx_.add("Reshape", {t.tensor(n, 0), t.onnx_.integers({0, groups, -1})});
    const std::string normed = t.onnx_.add("InstanceNormalization",
                                           {rows, t.onnx_.constant(ones), t.onnx_.constant(zeros)},
                                           {{"epsilon", t.constant_at(n, 4).toDouble()}});
    std::string out = t.reshaped(normed, sizes(n->output()));
    const auto by_channel = [&](size_t i) {
      std::vector<int64_t> shape(sizes(n->input(0)).size() - 1, 1);
      shape[0] = channels;
      return t.onnx_.add("Reshape", {t.tensor(n, i), t.onnx_.integers(shape)});
    };
    if (!t.missing(n, 2)) out = t.onnx_.add("Mul", {out, by_channel(2)});
    return t.missing(n, 3) ? out : t.onnx_.add("Add", {out, by_channel(3)});
  }

  static std::string layer_norm(Translation& t, const Node* n) {
    const std::vector<int64_t> shape = t.integer_list(n, 1);
    const auto scale = t.missing(n, 2) ? t.onnx_.constant(at::ones(shape)) : t.tensor(n, 2);
    std::vector<std::string> inputs = {t.tensor(n, 0), scale};
    if (!t.missing(n, 3)) inputs.push_back(t.tensor(n, 3));
    return t.onnx_.add("LayerNormalization", inputs,
                       {{"axis", -static_cast<int64_t>(shape.size())},
                        {"epsilon", t.constant_at(n, 4).toDouble()}});
  }

  static std::string softmax(Translation& t, const Node* n) {
    return t.onnx_.add("Softmax", {t.tensor(n, 0)}, {{"axis", t.dimension(n, 1)}});
  }

  static std::string cat(Translation& t, const Node* n) {
    std::vector<std::string> parts;
    for (const Value* part : n->input(0)->node()->inputs()) {
      check(!t.known(part) || sizes(part)[0] != t.batch_, kNoRule,
            "a constant joined to the batch");
      parts.push_back(t.tensor(part));
    }
    const int64_t given = t.integer(n, 1);
    return t.onnx_.add("Concat", parts,
                       {{"axis", given < 0 ? given + dimensions(n->output()) : given}});
  }

  /// Equal parts along a dimension.
  static std::string chunk(Translation& t, const Node* n) {
    const auto count = static_cast<size_t>(t.integer(n, 1));
    return t.keep_parts(
        n, t.onnx_.add_several("Split", {t.tensor(n, 0)}, {{"axis", t.dimension(n, 2)}}, count));
  }

  static std::string unbind(Translation& t, const Node* n) {
    const int64_t dimension = t.dimension(n, 1);
    const auto count = static_cast<size_t>(sizes(n->input(0))[static_cast<size_t>(dimension)]);
    std::vector<std::string> parts =
        t.onnx_.add_several("Split", {t.tensor(n, 0)}, {{"axis", dimension}}, count);
    for (std::string& part : parts)
      part = t.onnx_.add("Squeeze", {part, t.onnx_.integers({dimension})});
    return t.keep_parts(n, parts);
  }

  std::string keep_parts(const Node* node, std::vector<std::string> parts) {
    parts_[node->output()] = std::move(parts);
    return "";
  }

  static std::string narrow(Translation& t, const Node* n) {
    const int64_t begin = t.integer(n, 2);
    check(begin >= 0, kNoRule, "a part counted from the end");
    return t.sliced(t.tensor(n, 0), t.dimension(n, 1), begin, begin + t.integer(n, 3));
  }

  static std::string slice(Translation& t, const Node* n) {
    check(t.integer(n, 4) == 1, kNoRule, "slices with a step");
    const int64_t begin = t.missing(n, 2) ? 0 : t.integer(n, 2);
    return t.sliced(t.tensor(n, 0), t.dimension(n, 1), begin,
                    t.missing(n, 3) ? std::numeric_limits<int64_t>::max() : t.integer(n, 3));
  }

  static std::string transpose(Translation& t, const Node* n) {
    std::vector<int64_t> order(static_cast<size_t>(dimensions(n->input(0))));
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
    std::swap(order[static_cast<size_t>(t.dimension(n, 1))],
              order[static_cast<size_t>(t.dimension(n, 2))]);
    return t.onnx_.add("Transpose", {t.tensor(n, 0)}, {{"perm", order}});
  }

  static std::string permute(Translation& t, const Node* n) {
    std::vector<int64_t> order = t.integer_list(n, 1);
    for (int64_t& place : order)
      if (place < 0) place += dimensions(n->input(0));
    return t.onnx_.add("Transpose", {t.tensor(n, 0)}, {{"perm", order}});
  }

  static std::string nearest(Translation& t, const Node* n) {
    const std::vector<int64_t> from = sizes(n->input(0)), to = sizes(n->output());
    std::vector<double> scales = {1, 1};
    for (size_t i = 2; i < from.size(); ++i) {
      const int64_t factor = (to[i] + from[i] - 1) / from[i];
      // Of twice the size less one the last row is left out, and the others are the same.
      check(to[i] == factor * from[i] || (factor == 2 && to[i] == 2 * from[i] - 1), kNoRule,
            "an image enlarged from ", from[i], " to ", to[i]);
      scales.push_back(static_cast<double>(factor));
    }
    // Nearest neighbours round half down from pixel centres: with whole factors, LibTorch's.
    std::string out = t.onnx_.add(
        "Resize", {t.tensor(n, 0), "", t.onnx_.constant(at::tensor(scales, at::kDouble))});
    for (size_t i = 2; i < from.size(); ++i)
      if (to[i] % from[i] != 0) out = t.sliced(out, static_cast<int64_t>(i), 0, to[i]);
    return out;
  }

  static std::string average_pool(Translation& t, const Node* n) {
    for (const int64_t padding : t.integer_list(n, 3))
      check(padding == 0, kNoRule, "averages with padding");
    check(!t.constant_at(n, 4).toBool() && t.missing(n, 6), kNoRule,
          "averages of incomplete squares");
    const std::vector<int64_t> sides = t.sides(n, 1), strides = t.sides(n, 2);
    return t.onnx_.add("AveragePool", {t.tensor(n, 0)},
                       {{"kernel_shape", sides}, {"strides", strides.empty() ? sides : strides}});
  }

  static std::string pad(Translation& t, const Node* n) {
    const std::vector<int64_t> given = t.integer_list(n, 1);  // (begin, end) from the last one on
    const auto dims = static_cast<size_t>(dimensions(n->input(0)));
    std::vector<int64_t> pads(2 * dims, 0);
    for (size_t i = 0; i < given.size() / 2; ++i) {
      pads[dims - 1 - i] = given[2 * i];
      pads[2 * dims - 1 - i] = given[2 * i + 1];
    }
    check(t.constant_at(n, 2).toScalar().toDouble() == 0, kNoRule, "padding but by zero");
    return t.onnx_.add("Pad", {t.tensor(n, 0), t.onnx_.integers(pads)});
  }

  static std::string embedding(Translation& t, const Node* n) {
    return t.onnx_.add("Gather", {t.tensor(n, 0), t.tensor(n, 1)});
  }
  static std::string index_select(Translation& t, const Node* n) {
    return t.onnx_.add("Gather", {t.tensor(n, 0), t.tensor(n, 2)}, {{"axis", t.dimension(n, 1)}});
  }

  static std::string one_hot(Translation& t, const Node* n) {
    const at::Tensor off_on = at::tensor({0, 1}, at::kLong);
    return t.onnx_.add(
        "OneHot", {t.tensor(n, 0), t.onnx_.integers({t.integer(n, 1)}), t.onnx_.constant(off_on)});
  }

  /// All real numbers are float32, all whole ones int64.
  static std::string to(Translation& t, const Node* n) {
    const auto type = [](const Value* value) {
      const auto tensor = value->type()->cast<torch::jit::TensorType>();
      check(tensor && tensor->scalarType(), "ONNX: LibTorch has not recorded a type");
      return *tensor->scalarType();
    };
    const bool was = at::isFloatingType(type(n->input(0))),
               is = at::isFloatingType(type(n->output()));
    constexpr int64_t kFloat = 1, kInt64 = 7;
    if (was == is) return t.tensor(n, 0);
    return t.onnx_.add("Cast", {t.tensor(n, 0)}, {{"to", is ? kFloat : kInt64}});
  }

  static std::string rsub(Translation& t, const Node* n) {
    check(t.constant_at(n, 2).toScalar().toDouble() == 1, kNoRule, "a sum with a factor");
    return t.onnx_.add("Sub", {t.real(n, 1), t.real(n, 0)});
  }

  static const std::map<std::string, Rule>& rules() {
    static const std::map<std::string, Rule> rules = {
        {"aten::_convolution", convolution},
        {"aten::add", sum("Add")},
        {"aten::add_", sum("Add")},  // in place: to what nothing else sees
        {"aten::addmm", addmm},
        {"aten::avg_pool2d", average_pool},
        {"aten::cat", cat},
        {"aten::chunk", chunk},
        {"aten::constant_pad_nd", pad},
        {"aten::cos", operation("Cos")},
        {"aten::div", pair("Div")},
        {"aten::div_", pair("Div")},
        {"aten::embedding", embedding},
        {"aten::empty_like", empty_like},
        {"aten::fill_", fill},
        {"aten::flatten", resize},
        {"aten::gelu", gelu},
        {"aten::group_norm", group_norm},
        {"aten::index_select", index_select},
        {"aten::layer_norm", layer_norm},
        {"aten::linear", linear},
        {"aten::log", operation("Log")},
        {"aten::matmul", pair("MatMul")},
        {"aten::mish", mish},
        {"aten::mul", pair("Mul")},
        {"aten::narrow", narrow},
        {"aten::one_hot", one_hot},
        {"aten::permute", permute},
        {"aten::reciprocal", operation("Reciprocal")},
        {"aten::relu", operation("Relu")},
        {"aten::reshape", resize},
        {"aten::round", operation("Round")},
        {"aten::rsub", rsub},
        {"aten::sigmoid", operation("Sigmoid")},
        {"aten::silu", silu},
        {"aten::sin", operation("Sin")},
        {"aten::slice", slice},
        {"aten::softmax", softmax},
        {"aten::sub", sum("Sub")},
        {"aten::sub_", sum("Sub")},
        {"aten::to", to},
        {"aten::transpose", transpose},
        {"aten::unbind", unbind},
        {"aten::unsqueeze", resize},
        {"aten::upsample_nearest2d", nearest},
        {"aten::view", resize},
    };
    return rules;
  }

  OnnxGraph& onnx_;
  const int64_t batch_;
  const std::unordered_map<const void*, std::string>& weights_;  // by where their values lie
  std::unordered_map<const Value*, std::string> names_;
  std::unordered_map<const Value*, IValue> known_;
  std::unordered_set<const Value*> unfilled_;  // memory whose values are not known yet
  std::unordered_map<const Value*, std::vector<std::string>> parts_;
};

}  // namespace

std::string add_recording(const Recording& recording, OnnxGraph& onnx) {
  return Translation(recording, onnx).translate(recording.graph);
}

}  // namespace tweedie
