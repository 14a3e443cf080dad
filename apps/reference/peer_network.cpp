#include "peer_network.h"

#include <torch/utils.h>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/registry.h"
#include "tweedie/tensor/safetensors.h"

namespace tweedie::reference {

Refusal refused_network(const Json& config) {
  try {
    read_family(config);
    return {};
  } catch (const Error& fault) {
    return std::string("network layout: ") + fault.what();
  }
}

PeerNetwork load_peer_network(const Json& config, const std::string& weights, at::ScalarType type) {
  PeerNetwork out{read_family(config), {}};
  Json options = out.family.model;
  const bool learned = options.value("variance", "") == "learned";
  for (const char* key : {"network", "parameterisation", "parameterisation_options", "variance"})
    options.erase(key);
  options.update({{"sample_shape", out.family.shape},
                  {"classes", out.family.classes},
                  {"learned_variance", learned}});
  out.network = builtin().networks.at(out.family.model.at("network")).make(options);
  out.network->to(type);
  out.network->eval();
  const torch::NoGradGuard no_grad;
  Tensors ours;
  for (const auto& parameter : out.network->named_parameters())
    ours[parameter.key()] = parameter.value();
  take_weights(out.family, read_safetensors(weights).tensors, ours);
  return out;
}

Tensors peer_gradients(const PeerNetwork& peer) {
  Tensors ours;
  for (const auto& parameter : peer.network->named_parameters())
    if (parameter.value().grad().defined()) ours[parameter.key()] = parameter.value().grad();
  return give_weights(peer.family, ours);
}

Json read_json(const std::string& path) {
  const Json json = parse_json(read_file(path));
  check(!json.is_discarded(), path, ": is no JSON");
  return json;
}

}  // namespace tweedie::reference
