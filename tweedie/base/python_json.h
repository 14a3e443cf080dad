// JSON as Python writes it: NaN, Infinity and -Infinity stand in it bare, which JSON does not
// allow.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "tweedie/base/json.h"

namespace tweedie {

inline constexpr std::array<std::string_view, 3> kNotFinite = {"-Infinity", "Infinity", "NaN"};

/// As parse_json; the three become texts of that name.
inline Json parse_python_json(std::string_view text) {
  std::string out;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    std::string_view found;
    if (!quoted)
      for (const std::string_view name : kNotFinite)
        if (found.empty() && text.substr(i, name.size()) == name) found = name;
    if (!found.empty()) {
      out.append("\"").append(found).append("\"");
      i += found.size() - 1;
      continue;
    }
    if (text[i] == '"') quoted = !quoted;
    out += text[i];
    if (quoted && text[i] == '\\' && i + 1 < text.size()) out += text[++i];
  }
  return parse_json(out);
}

/// The way back, indented: values that are texts of those names stand bare.
inline std::string python_json(const Json& json) {
  std::string out = json.dump(2);
  for (const std::string_view name : kNotFinite) {
    const std::string text = "\"" + std::string(name) + "\"";
    for (size_t at = 0; (at = out.find(text, at)) != std::string::npos; at += name.size()) {
      const bool value = at > 0 && out[at - 1] == ' ' &&
                         (at + text.size() == out.size() || out[at + text.size()] != ':');
      if (value) out.replace(at, text.size(), name);
    }
  }
  return out;
}

}  // namespace tweedie
