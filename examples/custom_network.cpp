// A network of one's own, trained and sampled by name like tweedie's own:
//   custom_network train --data toy:two-moons --out run --set model.network=affine --steps 500
#include <torch/nn/modules/linear.h>
#include <tweedie/tweedie.h>

using namespace tweedie;

/// F = W [x, c_noise / 1000] + b: the best that a linear network can do.
struct Affine : Network {
  torch::nn::Linear layer;

  explicit Affine(int64_t dims)
      : layer(register_module("layer", torch::nn::Linear(dims + 1, dims))) {}

  Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition&) override {
    const Tensor label = c_noise.to(x.dtype()).unsqueeze(1) / 1000;
    return layer(torch::cat({x, label}, 1));  // [B, D]
  }
};

int main(int argc, char** argv) {
  Registry registry = builtin();
  registry.networks["affine"] = {
      "one linear layer", [](const Json& options) -> std::shared_ptr<Network> {
        return std::make_shared<Affine>(options.at("sample_shape").at(0).get<int64_t>());
      }};
  return run_cli(argc, argv, registry);
}
