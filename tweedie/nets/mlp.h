// A residual MLP for vectors.
#pragma once

#include <memory>

#include "tweedie/base/fields.h"
#include "tweedie/model/network.h"

namespace tweedie {

/// The registry's entry: options as JSON plus sample_shape [D], classes and learned_variance, which
/// the job adds.
std::shared_ptr<Network> make_mlp(const Json& options);
std::string mlp_options_help();

}  // namespace tweedie
