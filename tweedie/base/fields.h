// One listing of an options struct's fields serves parsing, help, JSON and metadata.
//
//   struct DdimOptions {
//     double eta = 0;
//     template <class Visit> void fields(Visit&& visit) { visit("eta", eta, "0: no noise; 1:
//     ancestral"); }
//   };
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tweedie/base/error.h"
#include "tweedie/base/json.h"

namespace tweedie {

/// The candidate with the smallest edit distance to `name`; empty if none is near enough to be a
/// typing error.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);

/// " (did you mean 'x'?)" or, when nothing is near, "; known: a, b, c".
std::string suggestion(std::string_view name, const std::vector<std::string>& candidates);

namespace detail {

struct AnyVisitor {
  template <class T>
  void operator()(const char*, T&, const char*) {}
};

}  // namespace detail

template <class T>
concept HasFields = requires(T& t) {
  t.fields(detail::AnyVisitor{});
};

/// What a value of the type looks like in an error message: "a number", "a list of integers".
template <class T>
constexpr const char* type_in_words() {
  if constexpr (std::same_as<T, bool>)
    return "true or false";
  else if constexpr (std::integral<T>)
    return "a whole number";
  else if constexpr (std::floating_point<T>)
    return "a number";
  else if constexpr (std::same_as<T, std::string>)
    return "a text";
  else if constexpr (std::same_as<T, std::vector<int64_t>>)
    return "a list of whole numbers";
  else if constexpr (std::same_as<T, std::vector<double>>)
    return "a list of numbers";
  else if constexpr (std::same_as<T, std::vector<std::string>>)
    return "a list of texts";
  else
    return "a table";
}

/// A whole number that 64 bits with a sign hold.
inline bool is_whole(const Json& value) {
  return value.is_number_unsigned() ? value.get<uint64_t>() <= uint64_t{INT64_MAX}
                                    : value.is_number_integer();
}

template <class T>
bool has_type(const Json& value) {
  if constexpr (std::same_as<T, Json>)
    return true;
  else if constexpr (std::same_as<T, bool>)
    return value.is_boolean();
  else if constexpr (std::integral<T>)
    return is_whole(value);
  else if constexpr (std::floating_point<T>)
    return value.is_number();
  else if constexpr (std::same_as<T, std::string>)
    return value.is_string();
  else if constexpr (std::same_as<T, std::vector<int64_t>>) {
    if (!value.is_array()) return false;
    for (const Json& item : value)
      if (!is_whole(item)) return false;
    return true;
  } else if constexpr (std::same_as<T, std::vector<double>>) {
    if (!value.is_array()) return false;
    for (const Json& item : value)
      if (!item.is_number()) return false;
    return true;
  } else if constexpr (std::same_as<T, std::vector<std::string>>) {
    if (!value.is_array()) return false;
    for (const Json& item : value)
      if (!item.is_string()) return false;
    return true;
  } else
    return value.is_object();
}

template <HasFields T>
Json to_json(T options);

/// The names of a struct's fields, in order.
template <HasFields T>
std::vector<std::string> field_names() {
  std::vector<std::string> names;
  T options;
  options.fields([&](const char* name, auto&, const char*) { names.emplace_back(name); });
  return names;
}

/// Sets the members of `options` that `given` names.  Nested structs take nested tables.
/// Throws Error on an unknown key (naming the nearest) or a value of the wrong type; `where` names
/// the table.
template <HasFields T>
void set_fields(T& options, const Json& given, const std::string& where) {
  const std::string place = where.empty() ? "" : where + ": ";
  check(given.is_object(), place, "expected a table of options, got ", given.dump());
  const std::vector<std::string> names = field_names<T>();
  for (const auto& [key, value] : given.items())
    check(std::find(names.begin(), names.end(), key) != names.end(), place, "unknown option '", key,
          "'", suggestion(key, names));
  options.fields([&](const char* name, auto& field, const char*) {
    const auto found = given.find(name);
    if (found == given.end()) return;
    using Field = std::remove_reference_t<decltype(field)>;
    const std::string full = where.empty() ? name : where + "." + name;
    if constexpr (HasFields<Field>) {
      set_fields(field, *found, full);
    } else {
      check(has_type<Field>(*found), full, ": expected ", type_in_words<Field>(), ", got ",
            found->dump());
      field = found->template get<Field>();
    }
  });
}

/// Defaults overridden by `given`.  Throws as set_fields does.
template <HasFields T>
T from_json(const Json& given, const std::string& where) {
  T options;
  set_fields(options, given, where);
  return options;
}

/// Every field with its value, nested structs as nested objects.
template <HasFields T>
Json to_json(T options) {
  Json out = Json::object();
  options.fields([&](const char* name, auto& field, const char*) {
    if constexpr (HasFields<std::remove_reference_t<decltype(field)>>)
      out[name] = to_json(field);
    else
      out[name] = field;
  });
  return out;
}

/// One line a field: name, default, what it does; for `--help` and `tweedie list`.
template <HasFields T>
std::string fields_help(const std::string& indent, T options = {}) {
  std::string out;
  options.fields([&](const char* name, auto& field, const char* what) {
    if constexpr (!HasFields<std::remove_reference_t<decltype(field)>>)
      out += indent + name + " = " + Json(field).dump() + "  " + what + "\n";
  });
  return out;
}

}  // namespace tweedie
