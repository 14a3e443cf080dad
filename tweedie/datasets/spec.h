// Data as the command line names it: NAME, NAME:PATH, NAME:PATH?key=value&key=value.
#pragma once

#include <string>

#include "tweedie/base/json.h"

namespace tweedie {

struct DataSpec {
  std::string name;  // "images"
  Json options;      // {"path": "DIR", "size": 32}; values read as JSON, else texts
};

/// Throws Error on an empty name or a malformed option.
DataSpec parse_data_spec(const std::string& spec);

}  // namespace tweedie
