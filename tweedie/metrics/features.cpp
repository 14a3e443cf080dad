#include "tweedie/metrics/features.h"

#include <exception>
#include <filesystem>
#include <vector>

#include <torch/script.h>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

/// The line of LibTorch's message that says what is wrong: the first, or of a traceback the last.
std::string reason(const std::exception& error) {
  const auto* const of_torch = dynamic_cast<const c10::Error*>(&error);
  std::string text = of_torch != nullptr ? of_torch->what_without_backtrace() : error.what();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.find("Traceback") == std::string::npos ? text.substr(0, text.find('\n'))
                                                     : text.substr(text.rfind('\n') + 1);
}

torch::jit::Module load_module(const std::string& path) {
  std::error_code ignored;
  check(std::filesystem::is_regular_file(path, ignored), path,
        ": there is no such file; expected a TorchScript network (torch.jit.save)");
  try {
    torch::jit::Module module = torch::jit::load(path, torch::kCPU);
    module.eval();
    return module;
  } catch (const std::exception& error) {
    throw Error(path + ": cannot be read as a TorchScript network: " + reason(error));
  }
}

Tensor first_tensor(const torch::jit::IValue& output, const std::string& path) {
  if (output.isTensor()) return output.toTensor();
  if (output.isTuple() && !output.toTupleRef().elements().empty())
    return first_tensor(output.toTupleRef().elements()[0], path);
  throw Error(path + ": the network gave no tensor; expected features [N, F] or maps [N, F, H, W]");
}

torch::jit::IValue answer_of(torch::jit::Module& module, const Tensor& part,
                             const std::string& path) {
  try {
    return module.forward({part});
  } catch (const std::exception& error) {
    throw Error(path + ": the network does not take examples of shape " + c10::str(part.sizes()) +
                ": " + reason(error));
  }
}

}  // namespace

Tensor network_features(const std::string& path, const Tensor& examples, int64_t batch) {
  check(batch >= 1, "features: the batch is ", batch, "; expected 1 or more");
  check(examples.dim() >= 2 && examples.size(0) >= 1,
        "features: expected examples [N, ...], got shape ", examples.sizes());
  torch::jit::Module module = load_module(path);
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> parts;
  for (int64_t first = 0; first < examples.size(0); first += batch) {
    const Tensor part = examples.slice(0, first, first + batch).to(torch::kCPU, torch::kFloat);
    const Tensor out = first_tensor(answer_of(module, part, path), path);
    check(out.dim() >= 2 && out.size(0) == part.size(0), path, ": for ", part.size(0),
          " examples the network gave shape ", out.sizes(), "; expected [N, F] or [N, F, H, W]");
    parts.push_back(out.dim() == 2 ? out : out.flatten(2).mean(2));
  }
  return at::cat(parts).to(torch::kFloat);
}

}  // namespace tweedie
