#include "tweedie/families/our_name.h"

#include <cctype>
#include <vector>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

std::vector<std::string> split(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name)
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

bool is_number(const std::string& text) { return !text.empty() && std::isdigit(text[0]); }

}  // namespace

OurName parse_our_name(const std::string& name) {
  const std::vector<std::string> parts = split(name);
  OurName out;
  out.what = parts.back();
  size_t at = 0;
  const auto number = [&](int64_t* into) {
    if (at + 1 < parts.size() && is_number(parts[at])) *into = std::stoll(parts[at++]);
  };
  if (parts[0].ends_with("_blocks") || parts[0] == "mid_block") {
    out.way = parts[at++];
    number(&out.stage);
  }
  if (at + 1 < parts.size()) out.kind = parts[at++];
  number(&out.number);
  while (at + 1 < parts.size()) out.layer += (out.layer.empty() ? "" : ".") + parts[at++];
  return out;
}

std::string renamed(const std::map<std::string, std::string>& names, const std::string& layer,
                    const std::string& whole) {
  const auto found = names.find(layer);
  check(found != names.end(), "'", whole, "' has no counterpart there");
  return found->second;
}

void within(int64_t value, int64_t least, int64_t most, const char* name) {
  check(value >= least && value <= most, name, ": expected ", least, " to ", most, ", got ", value);
}

int64_t qkv_part(const std::string& layer) {
  return layer == "to_q" ? 0 : layer == "to_k" ? 1 : layer == "to_v" ? 2 : -1;
}

}  // namespace tweedie
