// Networks whose kernels a GPU starts all at once.
#pragma once

#include <memory>

#include "tweedie/model/network.h"

namespace tweedie {

/// `network`, whose passes on CUDA are CUDA graphs (tensor/cuda.h), recorded when inputs of the
/// same sizes come again, for a few sizes: evaluations without gradients where it is `capturable`,
/// and in training, where it is `trains_capturable`, forward and backward.  Its parameters'
/// gradients must then be defined and stay where they are in memory; inputs get none.  Other passes
/// are the network's own.  For one precision and one thread.
std::shared_ptr<Network> captured_network(std::shared_ptr<Network> network);

}  // namespace tweedie
