// Dormand & Prince's Runge-Kutta pair of orders 5 and 4, with steps of its own for every example.
#pragma once

#include <functional>
#include <vector>

#include <ATen/ATen.h>

namespace tweedie {

/// dy/dt [A, ...], and the rates of numbers summed up along the way [A, K] (undefined where K = 0).
struct Slope {
  at::Tensor y, sums;
};

/// The slope of A examples, each at its own place: y [A, ...] in doubles on the CPU, `examples`
/// their places in the batch that was asked for.
using SlopeOf = std::function<Slope(at::ArrayRef<double> at, const at::Tensor& y,
                                    at::ArrayRef<int64_t> examples)>;

struct DormandPrinceOptions {
  double rtol = 1e-5, atol = 1e-5;            // of y: the root mean square over its dimensions
  double sums_rtol = 1e-5, sums_atol = 1e-5;  // of every sum alone
  int64_t max_evaluations = 10000;            // of the slope, per example
};

/// Doubles on the CPU.  An example that used up its evaluations is where it got to.
struct OdeSolution {
  at::Tensor y, sums;                // [B, ...], [B, K]
  std::vector<double> reached;       // the place of each example
  std::vector<int64_t> evaluations;  // of the slope, for each example
  std::vector<int64_t> unfinished;   // examples that did not get to the end
};

/// y from `from` to `to`, and `sums` numbers that start at 0.  Dormand & Prince 1980 with local
/// extrapolation, the last slope of a step the first of the next, and the controller and first step
/// of Hairer, Norsett & Wanner 1993, section II.4.  An example's error, its steps and so its result
/// are its own: they do not depend on the batch if its slope does not.  Those that are done are not
/// evaluated again.  Throws Error where a slope is not finite, naming the example and the place.
OdeSolution dormand_prince(const SlopeOf& slope, const at::Tensor& y, int64_t sums, double from,
                           double to, const DormandPrinceOptions& options);

}  // namespace tweedie
