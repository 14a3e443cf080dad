// The JSON values that configurations, metadata and results are made of.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace tweedie {

/// Keeps the order in which keys were written, so that files read as they were meant.
using Json = nlohmann::ordered_json;

/// The value of a JSON text; `is_discarded()` if it is none, or is nested deeper than any of ours:
/// copying and printing a value recurse, so a hostile file could exhaust the stack.
inline Json parse_json(const std::string& text) {
  constexpr int kMaxDepth = 64;
  bool deep = false;
  Json value = Json::parse(
      text,
      [&](int depth, Json::parse_event_t, Json&) {
        deep = deep || depth > kMaxDepth;
        return depth <= kMaxDepth;
      },
      false);
  return deep ? Json(Json::value_t::discarded) : value;
}

/// Whether JSON can hold the text.
inline bool is_utf8(const std::string& text) {
  constexpr auto kLeaveOut = Json::error_handler_t::ignore;
  return Json::parse(Json(text).dump(-1, ' ', false, kLeaveOut)).get_ref<const std::string&>() ==
         text;
}

}  // namespace tweedie
