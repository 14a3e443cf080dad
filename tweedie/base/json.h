// The JSON values that configurations, metadata and results are made of.
#pragma once

#include <nlohmann/json.hpp>

namespace tweedie {

/// Keeps the order in which keys were written, so that files read as they were meant.
using Json = nlohmann::ordered_json;

}  // namespace tweedie
