// Round numbers along an axis.
#pragma once

#include <string>
#include <vector>

namespace tweedie {

/// Ends of a range widened to round numbers, and the round numbers between them.
struct Ticks {
  double low, high;
  std::vector<double> at;
};
Ticks round_ticks(double low, double high, int wanted = 6);
/// The same for a logarithmic axis: powers of ten, or 1-2-5 steps on a short range.
Ticks log_ticks(double low, double high);
/// 0.001, 12.5, 1e+06, 20000: as short as it can be.
std::string short_number(double value);

}  // namespace tweedie
