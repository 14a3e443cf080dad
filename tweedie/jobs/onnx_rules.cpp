#include "tweedie/jobs/onnx_rules.h"

#include <cmath>
#include <limits>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

using torch::jit::Node;
using torch::jit::Value;

OnnxRule operation(const std::string& op) {
  return [op](Translation& t, const Node* n) {
    check(n->inputs().size() == 1, kNoRule, "an option of '", n->kind().toQualString(), "'");
    return t.onnx().add(op, {t.real(n, 0)});
  };
}
OnnxRule pair(const std::string& op) {
  return [op](Translation& t, const Node* n) {
    check(n->inputs().size() == 2, kNoRule, "the rounding of '", n->kind().toQualString(), "'");
    return t.onnx().add(op, {t.real(n, 0), t.real(n, 1)});
  };
}
/// x + alpha y and x - alpha y.
OnnxRule sum(const std::string& op) {
  return [op](Translation& t, const Node* n) {
    check(t.constant_at(n, 2).toScalar().toDouble() == 1, kNoRule, "a sum with a factor");
    return t.onnx().add(op, {t.real(n, 0), t.real(n, 1)});
  };
}
/// What 1 - x begins with: memory like x's, then filled with 1.
std::string empty_like(Translation& t, const Node* n) {
  t.leave_unfilled(n->output());
  return t.onnx().add("Shape", {t.tensor(n, 0)});
}
std::string fill(Translation& t, const Node* n) {
  const Value* like = n->input(0);
  check(like->node()->kind() == at::aten::empty_like, kNoRule, "filling a tensor in use");
  return t.onnx().add("Expand", {t.tensor(n, 1), t.shape_like(like)});
}

/// To the sizes that the result has.
std::string resize(Translation& t, const Node* n) {
  return t.reshaped(t.tensor(n, 0), Translation::sizes(n->output()));
}

std::string silu(Translation& t, const Node* n) {
  const std::string x = t.tensor(n, 0);
  return t.onnx().add("Mul", {x, t.onnx().add("Sigmoid", {x})});
}

std::string mish(Translation& t, const Node* n) {
  const std::string x = t.tensor(n, 0);
  return t.onnx().add("Mul", {x, t.onnx().add("Tanh", {t.onnx().add("Softplus", {x})})});
}

std::string gelu(Translation& t, const Node* n) {
  const std::string x = t.tensor(n, 0);
  const auto number = [&](double value) {
    return t.onnx().constant(at::scalar_tensor(value, at::kDouble));
  };
  const auto add = [&](const char* op, const std::string& a, const std::string& b) {
    return t.onnx().add(op, {a, b});
  };
  std::string inner;
  if (t.constant_at(n, 1).toStringRef() == "tanh") {  // sqrt(2 / pi) (x + 0.044715 x^3)
    const std::string cubic = add("Mul", add("Mul", add("Mul", x, x), x), number(0.044715));
    inner = t.onnx().add("Tanh", {add("Mul", add("Add", x, cubic), number(std::sqrt(M_2_PI)))});
  } else {
    inner = t.onnx().add("Erf", {add("Mul", x, number(std::sqrt(0.5)))});
  }
  return add("Mul", add("Mul", x, number(0.5)), add("Add", inner, number(1)));
}

std::string linear(Translation& t, const Node* n) {
  const at::Tensor weight = t.constant_at(n, 1).toTensor();
  const std::string product =
      t.onnx().add("MatMul", {t.tensor(n, 0), t.onnx().constant(weight.t(), t.name_for(weight))});
  return t.missing(n, 2) ? product : t.onnx().add("Add", {product, t.tensor(n, 2)});
}

std::string addmm(Translation& t, const Node* n) {
  check(t.constant_at(n, 3).toScalar().toDouble() == 1 &&
            t.constant_at(n, 4).toScalar().toDouble() == 1,
        kNoRule, "addmm with factors");
  return t.onnx().add("Gemm", {t.tensor(n, 1), t.tensor(n, 2), t.tensor(n, 0)});
}

std::string convolution(Translation& t, const Node* n) {
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
  return t.onnx().add(transposed ? "ConvTranspose" : "Conv", inputs, attributes);
}

/// Before opset 21 there is none: an instance's norm over rows of one group each.
std::string group_norm(Translation& t, const Node* n) {
  const int64_t groups = t.integer(n, 1), channels = Translation::sizes(n->input(0))[1];
  const auto ones = at::ones({groups}), zeros = at::zeros({groups});
  const std::string rows =
      t.onnx().add("Reshape", {t.tensor(n, 0), t.onnx().integers({0, groups, -1})});
  const std::string normed = t.onnx().add("InstanceNormalization",
                                          {rows, t.onnx().constant(ones), t.onnx().constant(zeros)},
                                          {{"epsilon", t.constant_at(n, 4).toDouble()}});
  std::string out = t.reshaped(normed, Translation::sizes(n->output()));
  const auto by_channel = [&](size_t i) {
    std::vector<int64_t> shape(Translation::sizes(n->input(0)).size() - 1, 1);
    shape[0] = channels;
    return t.onnx().add("Reshape", {t.tensor(n, i), t.onnx().integers(shape)});
  };
  if (!t.missing(n, 2)) out = t.onnx().add("Mul", {out, by_channel(2)});
  return t.missing(n, 3) ? out : t.onnx().add("Add", {out, by_channel(3)});
}

std::string layer_norm(Translation& t, const Node* n) {
  const std::vector<int64_t> shape = t.integer_list(n, 1);
  const auto scale = t.missing(n, 2) ? t.onnx().constant(at::ones(shape)) : t.tensor(n, 2);
  std::vector<std::string> inputs = {t.tensor(n, 0), scale};
  if (!t.missing(n, 3)) inputs.push_back(t.tensor(n, 3));
  return t.onnx().add(
      "LayerNormalization", inputs,
      {{"axis", -static_cast<int64_t>(shape.size())}, {"epsilon", t.constant_at(n, 4).toDouble()}});
}

std::string softmax(Translation& t, const Node* n) {
  return t.onnx().add("Softmax", {t.tensor(n, 0)}, {{"axis", t.dimension(n, 1)}});
}

std::string cat(Translation& t, const Node* n) {
  std::vector<std::string> parts;
  for (const Value* part : n->input(0)->node()->inputs()) {
    check(!t.known(part) || Translation::sizes(part)[0] != t.batch(), kNoRule,
          "a constant joined to the batch");
    parts.push_back(t.tensor(part));
  }
  const int64_t given = t.integer(n, 1);
  return t.onnx().add("Concat", parts,
                      {{"axis", given < 0 ? given + Translation::dimensions(n->output()) : given}});
}

/// Equal parts along a dimension.
std::string chunk(Translation& t, const Node* n) {
  const auto count = static_cast<size_t>(t.integer(n, 1));
  return t.keep_parts(
      n, t.onnx().add_several("Split", {t.tensor(n, 0)}, {{"axis", t.dimension(n, 2)}}, count));
}

std::string unbind(Translation& t, const Node* n) {
  const int64_t dimension = t.dimension(n, 1);
  const auto count =
      static_cast<size_t>(Translation::sizes(n->input(0))[static_cast<size_t>(dimension)]);
  std::vector<std::string> parts =
      t.onnx().add_several("Split", {t.tensor(n, 0)}, {{"axis", dimension}}, count);
  for (std::string& part : parts)
    part = t.onnx().add("Squeeze", {part, t.onnx().integers({dimension})});
  return t.keep_parts(n, parts);
}

std::string narrow(Translation& t, const Node* n) {
  const int64_t begin = t.integer(n, 2);
  check(begin >= 0, kNoRule, "a part counted from the end");
  return t.sliced(t.tensor(n, 0), t.dimension(n, 1), begin, begin + t.integer(n, 3));
}

std::string slice(Translation& t, const Node* n) {
  check(t.integer(n, 4) == 1, kNoRule, "slices with a step");
  const int64_t begin = t.missing(n, 2) ? 0 : t.integer(n, 2);
  return t.sliced(t.tensor(n, 0), t.dimension(n, 1), begin,
                  t.missing(n, 3) ? std::numeric_limits<int64_t>::max() : t.integer(n, 3));
}

std::string transpose(Translation& t, const Node* n) {
  std::vector<int64_t> order(static_cast<size_t>(Translation::dimensions(n->input(0))));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  std::swap(order[static_cast<size_t>(t.dimension(n, 1))],
            order[static_cast<size_t>(t.dimension(n, 2))]);
  return t.onnx().add("Transpose", {t.tensor(n, 0)}, {{"perm", order}});
}

std::string permute(Translation& t, const Node* n) {
  std::vector<int64_t> order = t.integer_list(n, 1);
  for (int64_t& place : order)
    if (place < 0) place += Translation::dimensions(n->input(0));
  return t.onnx().add("Transpose", {t.tensor(n, 0)}, {{"perm", order}});
}

std::string nearest(Translation& t, const Node* n) {
  const std::vector<int64_t> from = Translation::sizes(n->input(0)),
                             to = Translation::sizes(n->output());
  std::vector<double> scales = {1, 1};
  for (size_t i = 2; i < from.size(); ++i) {
    const int64_t factor = (to[i] + from[i] - 1) / from[i];
    // Of twice the size less one the last row is left out, and the others are the same.
    check(to[i] == factor * from[i] || (factor == 2 && to[i] == 2 * from[i] - 1), kNoRule,
          "an image enlarged from ", from[i], " to ", to[i]);
    scales.push_back(static_cast<double>(factor));
  }
  // Nearest neighbours round half down from pixel centres: with whole factors, LibTorch's.
  std::string out = t.onnx().add(
      "Resize", {t.tensor(n, 0), "", t.onnx().constant(at::tensor(scales, at::kDouble))});
  for (size_t i = 2; i < from.size(); ++i)
    if (to[i] % from[i] != 0) out = t.sliced(out, static_cast<int64_t>(i), 0, to[i]);
  return out;
}

std::string average_pool(Translation& t, const Node* n) {
  for (const int64_t padding : t.integer_list(n, 3))
    check(padding == 0, kNoRule, "averages with padding");
  check(!t.constant_at(n, 4).toBool() && t.missing(n, 6), kNoRule,
        "averages of incomplete squares");
  const std::vector<int64_t> sides = t.sides(n, 1), strides = t.sides(n, 2);
  return t.onnx().add("AveragePool", {t.tensor(n, 0)},
                      {{"kernel_shape", sides}, {"strides", strides.empty() ? sides : strides}});
}

std::string pad(Translation& t, const Node* n) {
  const std::vector<int64_t> given = t.integer_list(n, 1);  // (begin, end) from the last one on
  const auto dims = static_cast<size_t>(Translation::dimensions(n->input(0)));
  std::vector<int64_t> pads(2 * dims, 0);
  for (size_t i = 0; i < given.size() / 2; ++i) {
    pads[dims - 1 - i] = given[2 * i];
    pads[2 * dims - 1 - i] = given[2 * i + 1];
  }
  check(t.constant_at(n, 2).toScalar().toDouble() == 0, kNoRule, "padding but by zero");
  return t.onnx().add("Pad", {t.tensor(n, 0), t.onnx().integers(pads)});
}

std::string embedding(Translation& t, const Node* n) {
  return t.onnx().add("Gather", {t.tensor(n, 0), t.tensor(n, 1)});
}
std::string index_select(Translation& t, const Node* n) {
  return t.onnx().add("Gather", {t.tensor(n, 0), t.tensor(n, 2)}, {{"axis", t.dimension(n, 1)}});
}

std::string one_hot(Translation& t, const Node* n) {
  const at::Tensor off_on = at::tensor({0, 1}, at::kLong);
  return t.onnx().add(
      "OneHot", {t.tensor(n, 0), t.onnx().integers({t.integer(n, 1)}), t.onnx().constant(off_on)});
}

/// All real numbers are float32, all whole ones int64.
std::string to(Translation& t, const Node* n) {
  const auto type = [](const Value* value) {
    const auto tensor = value->type()->cast<torch::jit::TensorType>();
    check(tensor && tensor->scalarType(), "ONNX: LibTorch has not recorded a type");
    return *tensor->scalarType();
  };
  const bool was = at::isFloatingType(type(n->input(0))),
             is = at::isFloatingType(type(n->output()));
  constexpr int64_t kFloat = 1, kInt64 = 7;
  if (was == is) return t.tensor(n, 0);
  return t.onnx().add("Cast", {t.tensor(n, 0)}, {{"to", is ? kFloat : kInt64}});
}

std::string rsub(Translation& t, const Node* n) {
  check(t.constant_at(n, 2).toScalar().toDouble() == 1, kNoRule, "a sum with a factor");
  return t.onnx().add("Sub", {t.real(n, 1), t.real(n, 0)});
}

}  // namespace

const std::map<std::string, OnnxRule>& onnx_rules() {
  static const std::map<std::string, OnnxRule> rules = {
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

}  // namespace tweedie
