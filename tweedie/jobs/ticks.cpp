#include "tweedie/jobs/ticks.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace tweedie {

Ticks round_ticks(double low, double high, int wanted) {
  if (!(high > low))
    low -= std::max(0.5, std::abs(low) * 0.05), high += std::max(0.5, std::abs(high) * 0.05);
  const double rough = (high - low) / std::max(wanted - 1, 1),
               power = std::pow(10, std::floor(std::log10(rough)));
  const double step = power * (rough / power <= 1   ? 1
                               : rough / power <= 2 ? 2
                               : rough / power <= 5 ? 5
                                                    : 10);
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  Ticks ticks{first * step, last * step, {}};
  for (double i = first; i <= last; ++i) ticks.at.push_back(i * step);
  return ticks;
}

Ticks log_ticks(double low, double high) {
  if (!(high > low)) low /= 2, high *= 2;
  const double first = std::floor(std::log10(low) + 1e-9),
               last = std::ceil(std::log10(high) - 1e-9);
  if (last - first > 3) {
    Ticks ticks{std::pow(10, first), std::pow(10, last), {}};
    const double every = std::ceil((last - first) / 8);
    for (double i = first; i <= last; i += every) ticks.at.push_back(std::pow(10, i));
    return ticks;
  }
  std::vector<double> all;
  for (double i = first; i <= last; ++i)
    for (const double digit : {1.0, 2.0, 5.0}) all.push_back(digit * std::pow(10, i));
  Ticks ticks{all.front(), all.back(), {}};
  for (const double value : all) {
    if (value <= low * (1 + 1e-9)) ticks.low = value;
    if (value >= high * (1 - 1e-9)) {
      ticks.high = value;
      break;
    }
  }
  for (const double value : all)
    if (value >= ticks.low && value <= ticks.high) ticks.at.push_back(value);
  return ticks;
}

std::string short_number(double value) {
  if (value == 0 || std::abs(value) < 1e-12) return "0";
  const double size = std::abs(value);
  char text[32];
  std::snprintf(text, sizeof text, size < 1e-3 || size >= 1e6 ? "%.0e" : "%.6g", value);
  return text;
}

}  // namespace tweedie
