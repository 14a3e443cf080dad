// The diffusion transformer, with its authors' parameter names.
#pragma once

#include <memory>

#include "tweedie/base/fields.h"
#include "tweedie/model/network.h"

namespace tweedie {

/// The registry's entry: options as JSON plus sample_shape [C, H, W], classes and learned_variance,
/// which the job adds.  Peebles & Xie 2023 (arXiv:2212.09748), with adaLN-Zero.
std::shared_ptr<Network> make_dit(const Json& options);
std::string dit_options_help();

}  // namespace tweedie
