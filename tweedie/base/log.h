// Where the library says things: it never prints itself.
#pragma once

#include <functional>
#include <string>

namespace tweedie {

/// Takes one line, without its end.
using Log = std::function<void(const std::string& line)>;

}  // namespace tweedie
