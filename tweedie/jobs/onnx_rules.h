// How operations of LibTorch are said in ONNX's operators.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "tweedie/jobs/onnx_translation.h"

namespace tweedie {

using OnnxRule = std::function<std::string(Translation&, const torch::jit::Node*)>;

/// By the operation's name, as in "aten::linear"; each gives the name of its result.
const std::map<std::string, OnnxRule>& onnx_rules();

}  // namespace tweedie
