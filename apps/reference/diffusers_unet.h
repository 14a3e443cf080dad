// diffusers' UNet2DModel as our U-Net.
#pragma once

#include <memory>
#include <string>

#include "pack.h"
#include "support.h"
#include "tweedie/model/network.h"

namespace tweedie::reference {

/// Why our U-Net cannot have the layout of a configuration (a key that is missing has the peer's
/// default).
Refusal refused_unet(const Json& config);

/// The network of a configuration that is not refused, in doubles or floats, without weights.
std::shared_ptr<Network> make_diffusers_unet(const Json& config, at::ScalarType type);

/// Copies the weights in by name; attention may have its old names (query, key, value, proj_attn).
/// Throws Error unless they are exactly the network's.
void load_weights(Network& network, const std::string& path);

/// The file's JSON.  Throws Error if it is none.
Json read_json(const std::string& path);

}  // namespace tweedie::reference
