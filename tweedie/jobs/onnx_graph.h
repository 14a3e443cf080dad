// A graph of ONNX as it is written down: operators by name, tensors by name.
#pragma once

#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <ATen/ATen.h>

namespace tweedie {

constexpr int64_t kOnnxOpset = 17;  // the first with LayerNormalization; ONNX 1.12, July 2022

class OnnxGraph {
 public:
  using Attribute = std::variant<int64_t, double, std::vector<int64_t>>;
  using Attributes = std::map<std::string, Attribute>;

  /// float32 or int64; the first dimension is the batch, "batch" of any size.
  void input(const std::string& name, at::ScalarType type, const std::vector<int64_t>& sizes);
  /// Of float32.
  void output(const std::string& name, const std::vector<int64_t>& sizes);
  /// A tensor that the file holds: doubles as float32, the rest as it is.  Equal names are told
  /// apart.
  std::string constant(const at::Tensor& tensor, const std::string& name = "constant");
  std::string integers(const std::vector<int64_t>& values);
  /// One operator with one output, whose name is given back.
  std::string add(const std::string& op, const std::vector<std::string>& inputs,
                  const Attributes& attributes = {}, const std::string& output = "");
  /// One operator with several.
  std::vector<std::string> add_several(const std::string& op,
                                       const std::vector<std::string>& inputs,
                                       const Attributes& attributes, size_t outputs);

  /// The file.  Throws Error where it would be larger than 2 GB, which the format does not allow.
  std::string model(const std::string& description,
                    const std::map<std::string, std::string>& metadata) const;

 private:
  std::string unused(const std::string& name);
  void append(const std::string& op, const std::vector<std::string>& inputs,
              const std::vector<std::string>& outputs, const Attributes& attributes);

  std::string nodes_, constants_, inputs_, outputs_;  // fields of a GraphProto
  std::map<std::string, int64_t> used_;               // how often a name was asked for
  std::map<std::vector<int64_t>, std::string> integers_;
};

}  // namespace tweedie
