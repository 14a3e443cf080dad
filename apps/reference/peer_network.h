// Networks of other libraries, made by ours from the folders of a pack.
#pragma once

#include <memory>
#include <string>

#include "pack.h"
#include "support.h"
#include "tweedie/families/family.h"
#include "tweedie/model/network.h"

namespace tweedie::reference {

struct PeerNetwork {
  Family family;
  std::shared_ptr<Network> network;  // evaluated, not trained
};

/// Why a configuration is not one of ours; empty if it is.
Refusal refused_network(const Json& config);

/// The network of a configuration with the weights of a file, in doubles or floats.  Throws Error
/// unless they are exactly the network's.
PeerNetwork load_peer_network(const Json& config, const std::string& weights, at::ScalarType type);

/// The parameters, or their gradients, as the peer names and arranges them.
Tensors peer_gradients(const PeerNetwork& peer);

/// The file's JSON.  Throws Error if it is none.
Json read_json(const std::string& path);

}  // namespace tweedie::reference
