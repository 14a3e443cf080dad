// Which network a file of weights is of, where no configuration says so.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tweedie/base/json.h"

namespace tweedie {

using TensorSizes = std::map<std::string, std::vector<int64_t>>;

struct Recognised {
  std::string family;  // as Family::name, but for what EDM wraps around its networks
  Json config;         // what sizes tell, by the names of that library's configuration
};

/// By the names and sizes of its tensors.  What they leave open (numbers of heads, the image's
/// size, what the network predicts) is not in `config`.
std::optional<Recognised> recognise_weights(const TensorSizes& tensors);

}  // namespace tweedie
