// What the library says when it refuses.
#pragma once

#include <functional>
#include <string>

#include "tweedie/base/error.h"

namespace tweedie::testing {

/// The message of the Error that `act` throws; empty if it throws none.
inline std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool says(const std::string& message, const std::string& part) {
  return message.find(part) != std::string::npos;
}

}  // namespace tweedie::testing
