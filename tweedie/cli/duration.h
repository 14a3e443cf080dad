// Times as people type and read them.
#pragma once

#include <string>

namespace tweedie {

/// "90s", "10m", "1h30m", "1.5h" -> seconds.  Throws Error on anything else and on nothing; `where`
/// names the option.
double parse_duration(const std::string& text, const std::string& where);

/// 75 -> "1m15s", 7260 -> "2h01m".
std::string short_duration(double seconds);

}  // namespace tweedie
