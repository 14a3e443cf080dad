#include "tweedie/jobs/onnx_graph.h"

#include <limits>

#include "tweedie/base/error.h"
#include "tweedie/base/protobuf.h"

// The numbers of fields are those of onnx.proto (https://github.com/onnx/onnx).
namespace tweedie {
namespace {

using protobuf::field;

constexpr uint64_t kIrVersion = 8;  // of ONNX 1.12, with opset 17

uint64_t whole(int64_t value) { return static_cast<uint64_t>(value); }

int64_t type_number(at::ScalarType type) {
  constexpr int64_t kFloat = 1, kInt64 = 7;
  check(type == at::kFloat || type == at::kLong, "ONNX: no number for tensors of ",
        c10::toString(type));
  return type == at::kFloat ? kFloat : kInt64;
}

/// ValueInfoProto.
std::string value_of(const std::string& name, at::ScalarType type,
                     const std::vector<int64_t>& sizes) {
  std::string shape = field(1, field(2, "batch"));
  for (size_t i = 1; i < sizes.size(); ++i) shape += field(1, field(1, whole(sizes[i])));
  const std::string tensor = field(1, whole(type_number(type))) + field(2, shape);
  return field(1, name) + field(2, field(1, tensor));
}

/// AttributeProto.
std::string attribute_of(const std::string& name, const OnnxGraph::Attribute& value) {
  constexpr uint64_t kFloat = 1, kInt = 2, kInts = 7;
  std::string out = field(1, name);
  if (const auto* one = std::get_if<int64_t>(&value))
    return out + field(3, whole(*one)) + field(20, kInt);
  if (const auto* number = std::get_if<double>(&value))
    return out + field(2, static_cast<float>(*number)) + field(20, kFloat);
  for (const int64_t one : std::get<std::vector<int64_t>>(value)) out += field(8, whole(one));
  return out + field(20, kInts);
}

}  // namespace

std::string OnnxGraph::unused(const std::string& name) {
  const int64_t before = used_[name]++;
  return before == 0 ? name : unused(name + "_" + std::to_string(before));
}

void OnnxGraph::input(const std::string& name, at::ScalarType type,
                      const std::vector<int64_t>& sizes) {
  inputs_ += field(11, value_of(unused(name), type, sizes));
}

void OnnxGraph::output(const std::string& name, const std::vector<int64_t>& sizes) {
  outputs_ += field(12, value_of(name, at::kFloat, sizes));
}

std::string OnnxGraph::constant(const at::Tensor& tensor, const std::string& name) {
  const at::Tensor values =
      (tensor.is_floating_point() ? tensor.to(at::kFloat) : tensor.to(at::kLong)).contiguous();
  const std::string out = unused(name);
  std::string proto;
  for (const int64_t size : values.sizes()) proto += field(1, whole(size));
  proto += field(2, whole(type_number(values.scalar_type()))) + field(8, out) +
           field(9, std::string_view(static_cast<const char*>(values.data_ptr()), values.nbytes()));
  constants_ += field(5, proto);
  return out;
}

std::string OnnxGraph::integers(const std::vector<int64_t>& values) {
  std::string& name = integers_[values];
  if (name.empty()) name = constant(at::tensor(values, at::kLong), "integers");
  return name;
}

void OnnxGraph::append(const std::string& op, const std::vector<std::string>& inputs,
                       const std::vector<std::string>& outputs, const Attributes& attributes) {
  std::string node;
  for (const std::string& input : inputs) node += field(1, input);
  for (const std::string& output : outputs) node += field(2, output);
  node += field(3, outputs[0]) + field(4, op);
  for (const auto& [key, value] : attributes) node += field(5, attribute_of(key, value));
  nodes_ += field(1, node);
}

std::string OnnxGraph::add(const std::string& op, const std::vector<std::string>& inputs,
                           const Attributes& attributes, const std::string& output) {
  const std::string out = unused(output.empty() ? op : output);
  append(op, inputs, {out}, attributes);
  return out;
}

std::vector<std::string> OnnxGraph::add_several(const std::string& op,
                                                const std::vector<std::string>& inputs,
                                                const Attributes& attributes, size_t outputs) {
  std::vector<std::string> out;
  for (size_t i = 0; i < outputs; ++i) out.push_back(unused(op));
  append(op, inputs, out, attributes);
  return out;
}

std::string OnnxGraph::model(const std::string& description,
                             const std::map<std::string, std::string>& metadata) const {
  check(constants_.size() + nodes_.size() < std::numeric_limits<int32_t>::max() - (1 << 20),
        "ONNX: a file holds at most 2 GB, and these weights are ", constants_.size() >> 20, " MiB");
  const std::string graph = nodes_ + field(2, "tweedie") + constants_ + inputs_ + outputs_;
  std::string out = field(1, kIrVersion) + field(2, "tweedie") + field(6, description) +
                    field(7, graph) + field(8, field(2, whole(kOnnxOpset)));
  for (const auto& [key, value] : metadata) out += field(14, field(1, key) + field(2, value));
  return out;
}

}  // namespace tweedie
