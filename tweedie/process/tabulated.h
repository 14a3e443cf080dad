// Schedules through tables of log-SNR: monotone cubics between knots.
#pragma once

#include <string>
#include <vector>

#include "tweedie/process/schedule.h"

namespace tweedie {

/// A cubic Hermite interpolant of evenly spaced knots.
struct HermiteCubic {
  double first, spacing;  // place of the first knot, and of each next one
  std::vector<double> value, slope;

  struct Point {
    double value, slope;
  };
  /// At the nearer end for t outside.
  Point at(double t) const;
};

/// Fritsch & Carlson 1980: slopes at evenly spaced knots that keep the interpolant monotone.
std::vector<double> monotone_slopes(const std::vector<double>& value, double spacing);
/// Their limiter: given slopes, made smaller where the interpolant would not be monotone.
std::vector<double> limited_slopes(const std::vector<double>& value, std::vector<double> slope,
                                   double spacing);

/// The variance-preserving level of a log-SNR and its derivative in t.
Level preserving_level(double t, double log_snr, double d_log_snr);

/// Variance preserving on t in [0, 1], with -log_snr = gamma[i] and its derivative d_gamma[i] at t
/// = i / (size - 1).  Throws Error unless gamma is finite, rises strictly and has as many slopes.
Schedule tabulated_schedule(std::string name, const std::vector<double>& gamma,
                            const std::vector<double>& d_gamma);

}  // namespace tweedie
