#include "support.h"

#include <algorithm>

namespace tweedie::reference {
namespace {

bool among(const std::string& name, const std::vector<std::string>& known) {
  return std::find(known.begin(), known.end(), name) != known.end();
}

}  // namespace

Refusal unknown_keys(const std::string& where, const Json& table,
                     const std::vector<std::string>& known) {
  for (const auto& [key, value] : table.items())
    if (!among(key, known)) return where + "." + key + ": not in this release";
  return {};
}

Refusal other_value(const std::string& key, const Json& table,
                    const std::vector<std::string>& known) {
  const Json value = table.value(key, Json());
  if (value.is_null() || (value.is_string() && among(value.get<std::string>(), known))) return {};
  return key + " " + (value.is_string() ? value.get<std::string>() : value.dump()) +
         ": not in this release";
}

Refusal switched_on(const Json& table, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    const Json value = table.value(key, Json());
    if (!value.is_null() && value != false)
      return key + " " + value.dump() + ": not in this release";
  }
  return {};
}

Refusal first_refusal(const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals)
    if (!refusal.empty()) return refusal;
  return {};
}

std::string text_or_empty(const Json& table, const std::string& key) {
  const Json value = table.value(key, Json());
  return value.is_string() ? value.get<std::string>() : std::string();
}

}  // namespace tweedie::reference
