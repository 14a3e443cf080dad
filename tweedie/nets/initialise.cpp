#include "tweedie/nets/initialise.h"

#include <cmath>

#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>
#include <torch/utils.h>

#include "tweedie/base/error.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

/// FNV-1a, 63 bits: a sample number for a name.
int64_t number_of(const std::string& name) {
  uint64_t hash = 14695981039346656037ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return static_cast<int64_t>(hash >> 1);
}

class Drawer {
 public:
  explicit Drawer(uint64_t seed) : key_{seed, Stream::weights} {}

  void uniform(Tensor parameter, const std::string& name, double bound) const {
    if (parameter.defined())
      parameter.copy_(keyed_uniform(key_, number_of(name), 0, parameter.sizes())[0] * (2 * bound) -
                      bound);
  }
  void normal(Tensor parameter, const std::string& name) const {
    parameter.copy_(keyed_normal(key_, number_of(name), 0, parameter.sizes())[0]);
  }

 private:
  RandomKey key_;
};

template <class Module>
bool affine(const torch::nn::Module& module, const std::string& name, const Drawer& draw) {
  const auto* layer = module.as<Module>();
  if (layer == nullptr) return false;
  const double bound = 1 / std::sqrt(static_cast<double>(layer->weight[0].numel()));
  draw.uniform(layer->weight, name + ".weight", bound);
  draw.uniform(layer->bias, name + ".bias", bound);
  return true;
}

template <class Module>
bool reset_norm(const torch::nn::Module& module) {
  const auto* layer = module.as<Module>();
  if (layer == nullptr) return false;
  if (layer->weight.defined()) Tensor(layer->weight).fill_(1);
  if (layer->bias.defined()) Tensor(layer->bias).zero_();
  return true;
}

}  // namespace

void initialise(Network& network, uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const Drawer draw(seed);
  for (const auto& item : network.named_modules("", false)) {
    const torch::nn::Module& module = *item.value();
    if (affine<torch::nn::Conv2dImpl>(module, item.key(), draw) ||
        affine<torch::nn::LinearImpl>(module, item.key(), draw) ||
        reset_norm<torch::nn::GroupNormImpl>(module) ||
        reset_norm<torch::nn::LayerNormImpl>(module))
      continue;
    if (const auto* embedding = module.as<torch::nn::EmbeddingImpl>())
      draw.normal(embedding->weight, item.key() + ".weight");
  }
  auto parameters = network.named_parameters();
  for (const std::string& name : network.zero_initialised) {
    Tensor* const parameter = parameters.find(name);
    check(parameter != nullptr, "network: lists '", name,
          "' as zero-initialised but has no such parameter");
    parameter->zero_();
  }
}

}  // namespace tweedie
