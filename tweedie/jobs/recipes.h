// The recipes of the `recipes/` folder, compiled into the program.
#pragma once

#include <map>
#include <string>

namespace tweedie {

/// Name (file name without .toml) -> text.
const std::map<std::string, std::string>& builtin_recipes();

}  // namespace tweedie
