// Numbers as people read them.
#pragma once

#include <cstdio>
#include <string>

namespace tweedie {

/// `value` as printf's `pattern` writes it.
inline std::string format(const char* pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

}  // namespace tweedie
