// Networks whose kernels a GPU starts all at once.
#pragma once

#include <memory>

#include "tweedie/model/network.h"

namespace tweedie {

/// `network`, whose evaluations on CUDA in evaluation mode and without gradients are CUDA graphs
/// (tensor/cuda.h): recorded when inputs of the same sizes come again, for a few sizes.  Other
/// evaluations are the network's own; so are all where it is not `capturable`.  For one precision
/// and one thread.
std::shared_ptr<Network> captured_network(std::shared_ptr<Network> network);

}  // namespace tweedie
