// What runs where LibTorch finds a GPU; elsewhere these cases say that they did not.
#include <doctest/doctest.h>

#include "tests/nets/gradients.h"
#include "tweedie/jobs/device.h"
#include "tweedie/jobs/optimiser.h"
#include "tweedie/jobs/precision.h"
#include "tweedie/model/captured.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

bool no_gpu() {
  if (device_named("auto").is_cuda()) return false;
  MESSAGE("no GPU: not run");
  return true;
}

/// Two networks of one case with the same weights: LibTorch's operations on the CPU, and the blocks
/// on the GPU.
struct Twins {
  std::shared_ptr<Network> reference, cuda;
};

Twins twins(const NetCase& c) {
  Json options = c.options;
  options["zero_init"] = false;
  Twins out;
  out.cuda = unet(c.shape, options);
  options["kernels"] = "reference";
  out.reference = unet(c.shape, options);
  const torch::NoGradGuard no_grad;
  const auto from = out.cuda->named_parameters();
  for (auto& parameter : out.reference->named_parameters())
    parameter.value().copy_(from[parameter.key()]);
  out.cuda->to(torch::kCUDA);
  return out;
}

struct Inputs {
  Tensor x, noise;
};

/// Four examples on the GPU, others in every call.
Inputs inputs_of(const NetCase& c, uint64_t call) {
  std::vector<int64_t> sizes = {4};
  sizes.insert(sizes.end(), c.shape.begin(), c.shape.end());
  return {
      normal(sizes, call + 1).to(torch::kCUDA),
      at::full({4}, static_cast<double>(call), at::TensorOptions(torch::kCUDA).dtype(at::kFloat))};
}

/// Output and all gradients one after the other, of a sum with fixed weights, on the CPU.
std::vector<Tensor> step(Network& network, const std::vector<int64_t>& shape, int64_t batch,
                         torch::Device device, const std::string& precision) {
  std::vector<int64_t> sizes = {batch};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  for (Tensor& parameter : network.parameters()) parameter.mutable_grad() = Tensor();
  Tensor y;
  {
    const PrecisionGuard guard(precision, device);
    y = network.forward(normal(sizes).to(device), at::arange(batch, at::kFloat).to(device), {})
            .to(torch::kFloat);
  }
  (y * normal(y.sizes(), 2).to(device)).sum().backward();
  std::vector<Tensor> flat;
  for (const Tensor& parameter : network.parameters())
    flat.push_back(parameter.grad().to(torch::kCPU).contiguous().flatten());
  return {y.detach().cpu(), at::cat(flat)};
}

}  // namespace

TEST_CASE("a U-Net on a GPU is the CPU's, in float32 and rounded to bf16") {
  if (no_gpu()) return;
  for (const NetCase& c : net_cases())
    for (const bool training : {false, true}) {
      CAPTURE(std::string(c.name));
      CAPTURE(training);
      const Twins nets = twins(c);
      nets.reference->train(training);
      nets.cuda->train(training);
      const auto expected = step(*nets.reference, c.shape, 3, torch::kCPU, "fp32");
      const auto floats = step(*nets.cuda, c.shape, 3, torch::kCUDA, "fp32");
      const auto halves = step(*nets.cuda, c.shape, 3, torch::kCUDA, "bf16");
      for (size_t i = 0; i < 2; ++i) {
        CAPTURE(i);
        CHECK(relative_error(floats[i], expected[i]) < 1e-3);
        // Autocast rounds what comes in and what goes out too.
        CHECK(relative_error(halves[i], expected[i]) < (i == 0 ? 0.015 : 0.03));
      }
      MESSAGE(std::string(c.name), ": float32 ", relative_error(floats[0], expected[0]), " and ",
              relative_error(floats[1], expected[1]), ", bf16 ",
              relative_error(halves[0], expected[0]), " and ",
              relative_error(halves[1], expected[1]));
    }
}

TEST_CASE("a captured network on a GPU gives what it gives uncaptured, call after call") {
  if (no_gpu()) return;
  const torch::NoGradGuard no_grad;
  for (const NetCase& c : net_cases())
    for (const std::string precision : {"fp32", "bf16"}) {
      CAPTURE(std::string(c.name));
      CAPTURE(precision);
      const Twins nets = twins(c);
      const auto captured = captured_network(nets.cuda);
      captured->eval();
      const PrecisionGuard guard(precision, torch::kCUDA);
      for (uint64_t call = 0; call < 4; ++call) {
        const Inputs in = inputs_of(c, call);
        const Tensor expected = nets.cuda->forward(in.x, in.noise, {}),
                     y = captured->forward(in.x, in.noise, {});
        CHECK(relative_error(y.cpu(), expected.cpu()) < 1e-5);
      }
    }
}

TEST_CASE("a captured network in training gives the gradients that it gives uncaptured") {
  if (no_gpu()) return;
  for (const NetCase& c : net_cases()) {
    CAPTURE(std::string(c.name));
    const Twins nets = twins(c);
    const Optimiser optimiser(*nets.cuda, TrainConfig{});  // gives gradients their place
    nets.cuda->train();
    const auto captured = captured_network(nets.cuda);
    const PrecisionGuard guard("bf16", torch::kCUDA);
    for (uint64_t call = 0; call < 4; ++call) {
      const Inputs in = inputs_of(c, call);
      const auto gradient = [&](Network& network) {
        for (const Tensor& parameter : nets.cuda->parameters()) parameter.grad().zero_();
        const Tensor y = network.forward(in.x, in.noise, {});
        (y.to(torch::kFloat) * normal(y.sizes(), 9).to(torch::kCUDA)).sum().backward();
        std::vector<Tensor> flat;
        for (const Tensor& parameter : nets.cuda->parameters())
          flat.push_back(parameter.grad().cpu().contiguous().flatten());
        return at::cat(flat);
      };
      const Tensor expected = gradient(*nets.cuda), g = gradient(*captured);
      CHECK(expected.norm().item<double>() > 0);
      CHECK(relative_error(g, expected) < 1e-3);  // cuDNN adds in no fixed order
    }
  }
}

TEST_CASE("an optimiser's steps on a GPU are the CPU's") {
  if (no_gpu()) return;
  const Twins nets = twins(net_cases()[0]);
  TrainConfig config;
  config.ema = {0.9, 0.99};
  Optimiser on_cpu(*nets.reference, config), on_gpu(*nets.cuda, config);
  const auto cpu = nets.reference->named_parameters(), gpu = nets.cuda->named_parameters();
  for (int64_t i = 1; i <= 5; ++i) {
    on_cpu.zero_gradients();
    on_gpu.zero_gradients();
    uint64_t seed = static_cast<uint64_t>(100 * i);
    for (const auto& parameter : cpu) {
      const Tensor gradient = normal(parameter.value().sizes(), ++seed);
      parameter.value().mutable_grad().add_(gradient);
      gpu[parameter.key()].mutable_grad().add_(gradient.to(torch::kCUDA));
    }
    CHECK(on_gpu.gradient_norm() == doctest::Approx(on_cpu.gradient_norm()).epsilon(1e-6));
    on_cpu.step(i, 1e-2, 0.5);
    on_gpu.step(i, 1e-2, 0.5);
  }
  for (const auto& parameter : cpu) {
    CAPTURE(parameter.key());
    CHECK(distance(parameter.value().detach(), gpu[parameter.key()].detach().cpu()) < 1e-6);
  }
}
