#include "tweedie/datasets/spec.h"

#include <sstream>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

constexpr const char* kForm = "; expected NAME, NAME:PATH or NAME:PATH?key=value&key=value";

Json json_or_text(const std::string& text) {
  Json parsed = parse_json(text);
  return parsed.is_discarded() ? Json(text) : std::move(parsed);
}

/// JSON, a list of texts without their quotes, which a shell eats, or a text.
Json value_of(const std::string& text) {
  Json value = json_or_text(text);
  if (!value.is_string() || !text.starts_with('[') || !text.ends_with(']')) return value;
  Json list = Json::array();
  std::istringstream items(text.substr(1, text.size() - 2));
  for (std::string item; std::getline(items, item, ',');) list.push_back(json_or_text(item));
  return list;
}

void add_option(Json& options, const std::string& text, const std::string& spec) {
  const size_t equals = text.find('=');
  check(equals != std::string::npos && equals > 0, "data '", spec, "': the option '", text,
        "' is not key=value", kForm);
  const std::string key = text.substr(0, equals), value = text.substr(equals + 1);
  check(!options.contains(key), "data '", spec, "': '", key, "' is given twice");
  options[key] = value_of(value);
}

}  // namespace

DataSpec parse_data_spec(const std::string& spec) {
  DataSpec out{spec.substr(0, spec.find_first_of(":?")), Json::object()};
  check(!out.name.empty(), "data '", spec, "': has no name", kForm);
  const size_t question = spec.find('?');
  const std::string front = spec.substr(0, question);
  if (front.size() > out.name.size()) {
    check(front.size() > out.name.size() + 1, "data '", spec, "': nothing follows the ':'", kForm);
    out.options["path"] = front.substr(out.name.size() + 1);
  }
  if (question == std::string::npos) return out;
  for (size_t begin = question + 1; begin <= spec.size();) {
    const size_t end = std::min(spec.find('&', begin), spec.size());
    add_option(out.options, spec.substr(begin, end - begin), spec);
    begin = end + 1;
  }
  return out;
}

}  // namespace tweedie
