#include "tweedie/cli/duration.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "tweedie/base/error.h"

namespace tweedie {

double parse_duration(const std::string& text, const std::string& where) {
  const std::string advice = "; expected a time such as 90s, 10m or 1h30m";
  double seconds = 0;
  const char* next = text.data();
  const char* end = next + text.size();
  check(next != end, where, ": no time given", advice);
  while (next != end) {
    double number = 0;
    const auto [after, failure] = std::from_chars(next, end, number, std::chars_format::fixed);
    check(failure == std::errc() && number >= 0, where, ": '", text, "' is not a time", advice);
    check(after != end, where, ": '", text, "' lacks a unit", advice);
    const double unit = *after == 's' ? 1 : *after == 'm' ? 60 : *after == 'h' ? 3600 : 0;
    check(unit > 0, where, ": '", text, "' has the unknown unit '", *after, "'", advice);
    seconds += number * unit;
    next = after + 1;
  }
  check(std::isfinite(seconds) && seconds > 0, where, ": '", text, "' is no time at all", advice);
  return seconds;
}

std::string short_duration(double seconds) {
  const long long whole = std::isfinite(seconds) && seconds > 0 ? std::llround(seconds) : 0;
  char text[64];
  if (whole >= 3600)
    std::snprintf(text, sizeof text, "%lldh%02lldm", whole / 3600, whole / 60 % 60);
  else if (whole >= 60)
    std::snprintf(text, sizeof text, "%lldm%02llds", whole / 60, whole % 60);
  else
    std::snprintf(text, sizeof text, "%llds", whole);
  return text;
}

}  // namespace tweedie
