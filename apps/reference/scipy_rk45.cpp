#include "scipy_rk45.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tweedie/base/error.h"

namespace tweedie::reference {
namespace {

using at::Tensor;

// Dormand & Prince 1980: nodes, stages, weights of order 5, and those less the weights of order 4.
constexpr double kNodes[] = {0, 0.2, 0.3, 0.8, 8.0 / 9, 1};
const std::vector<std::vector<double>> kStages = {
    {},
    {1.0 / 5},
    {3.0 / 40, 9.0 / 40},
    {44.0 / 45, -56.0 / 15, 32.0 / 9},
    {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
    {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656}};
const std::vector<double> kWeights = {35.0 / 384,     0,        500.0 / 1113, 125.0 / 192,
                                      -2187.0 / 6784, 11.0 / 84};
const std::vector<double> kErrors = {-71.0 / 57600,    0,           71.0 / 16695, -71.0 / 1920,
                                     17253.0 / 339200, -22.0 / 525, 1.0 / 40};

// The controller: the error grows with the fifth power of the step.
constexpr double kPower = 1.0 / 5, kSafety = 0.9, kLeastFactor = 0.2, kMostFactor = 10;

Tensor weighted_sum(const std::vector<Tensor>& slopes, const std::vector<double>& weights) {
  Tensor sum = weights[0] * slopes[0];
  for (size_t i = 1; i < weights.size(); ++i)
    if (weights[i] != 0) sum = sum + weights[i] * slopes[i];
  return sum;
}

double root_mean_square(const Tensor& x) { return std::sqrt(x.square().mean().item<double>()); }

struct Rk45 {
  const OdeSlope& slope;
  double rtol, atol, direction;
  int64_t evaluations = 0;

  Tensor ask(double t, const Tensor& y) {
    ++evaluations;
    return slope(t, y);
  }

  /// Hairer, Norsett & Wanner 1993, section II.4: from the sizes of y, y' and an estimate of y''.
  double first_step(double t, double length, const Tensor& y, const Tensor& f) {
    const Tensor scale = atol + y.abs() * rtol;
    const double size = root_mean_square(y / scale), speed = root_mean_square(f / scale);
    double trial = size < 1e-5 || speed < 1e-5 ? 1e-6 : 0.01 * size / speed;
    trial = std::min(trial, length);
    const Tensor after = ask(t + trial * direction, y + trial * direction * f);
    const double bend = root_mean_square((after - f) / scale) / trial;
    const double step = speed <= 1e-15 && bend <= 1e-15
                            ? std::max(1e-6, trial * 1e-3)
                            : std::pow(0.01 / std::max(speed, bend), kPower);
    return std::min({100 * trial, step, length});
  }

  struct Trial {
    Tensor y, f;
    double error;  // below 1: accepted
  };

  Trial step(double t, double h, const Tensor& y, const Tensor& f) {
    std::vector<Tensor> slopes = {f};
    for (size_t i = 1; i < kStages.size(); ++i)
      slopes.push_back(ask(t + kNodes[i] * h, y + h * weighted_sum(slopes, kStages[i])));
    const Tensor next = y + h * weighted_sum(slopes, kWeights);
    slopes.push_back(ask(t + h, next));
    const Tensor scale = atol + at::maximum(y.abs(), next.abs()) * rtol;
    return {next, slopes.back(), root_mean_square(h * weighted_sum(slopes, kErrors) / scale)};
  }
};

}  // namespace

OdeSolution scipy_rk45(const OdeSlope& slope, double from, double to, Tensor y, double rtol,
                       double atol) {
  Rk45 method{slope, rtol, atol, to > from ? 1.0 : -1.0};
  double t = from;
  Tensor f = method.ask(t, y);
  double size = method.first_step(t, std::abs(to - from), y, f);
  while (t != to) {
    const double least = 10 * std::abs(std::nextafter(t, method.direction * HUGE_VAL) - t);
    size = std::max(size, least);
    for (bool rejected = false;; rejected = true) {
      check(size >= least, "scipy_rk45: the step at t = ", t, " fell below the spacing of numbers");
      double next = t + size * method.direction;
      if (method.direction * (next - to) > 0) next = to;
      size = std::abs(next - t);
      const Rk45::Trial trial = method.step(t, next - t, y, f);
      const double wanted = kSafety * std::pow(trial.error, -kPower);  // infinite without an error
      if (trial.error < 1) {
        size *= std::min(rejected ? 1.0 : kMostFactor, wanted);
        t = next, y = trial.y, f = trial.f;
        break;
      }
      size *= std::max(kLeastFactor, wanted);
    }
  }
  return {y, method.evaluations};
}

}  // namespace tweedie::reference
