// Features of images by a network from a file, for Frechet distances.
#pragma once

#include <string>

#include "tweedie/metrics/rows.h"

namespace tweedie {

/// What a TorchScript network says of examples [N, ...] in [-1, 1], float32: [N, F], maps averaged
/// over their pixels.  Of a tuple the first tensor counts.  Throws Error where the file is no
/// TorchScript module or the network does not take such examples.
Tensor network_features(const std::string& path, const Tensor& examples, int64_t batch = 64);

}  // namespace tweedie
