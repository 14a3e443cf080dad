// Where a job computes.
#pragma once

#include <string>

#include "tweedie/model/network.h"

namespace tweedie {

/// `name` is auto (CUDA where LibTorch sees it), cpu or cuda.  Throws Error on another name, and on
/// cuda without a CUDA device.
torch::Device device_named(const std::string& name);

/// Where the network's parameters are; the CPU if it has none.
torch::Device device_of(const Network& network);

}  // namespace tweedie
