// The one exception of the library, and the one way to throw it.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace tweedie {

/// Something given from outside (an option, a file, a tensor) cannot be used.
/// The message says where, what was given, what was expected and what to do.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws Error made of `parts`.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(message.str());
}

/// The same unless `ok`.
template <class... Parts>
void check(bool ok, const Parts&... parts) {
  if (!ok) fail(parts...);
}

}  // namespace tweedie
