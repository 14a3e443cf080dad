// Random initial weights, drawn by name: adding a layer changes no other layer's numbers.
#pragma once

#include "tweedie/model/network.h"

namespace tweedie {

/// PyTorch's default distributions (Linear, Conv: uniform in +-1/sqrt(fan_in); norms: 1 and 0), the
/// same bits for a seed on any machine; parameters that the network itself lists as
/// `zero_initialised` are set to zero.
void initialise(Network& network, uint64_t seed);

}  // namespace tweedie
