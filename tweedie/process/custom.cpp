#include "tweedie/process/custom.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

constexpr double kTolerance = 1e-12;  // relative, of one panel: 1e-10 in all with room to spare
constexpr int kMostHalvings = 48;

/// Gauss-Legendre points and weights of [0, 1], by Newton's method on the polynomial.
struct GaussRule {
  static constexpr int kPoints = 12;
  std::array<double, kPoints> place, weight;
  GaussRule() {
    for (int i = 0; i < kPoints; ++i) {
      double x = std::cos(std::acos(-1.0) * (i + 0.75) / (kPoints + 0.5)), slope = 1;
      for (int pass = 0; pass < 60; ++pass) {
        double before = 1, p = x;
        for (int n = 2; n <= kPoints; ++n) {
          const double next = ((2 * n - 1) * x * p - (n - 1) * before) / n;
          before = p;
          p = next;
        }
        slope = kPoints * (x * p - before) / (x * x - 1);
        x -= p / slope;
      }
      place[static_cast<size_t>(i)] = 0.5 * (1 + x);
      weight[static_cast<size_t>(i)] = 1 / ((1 - x * x) * slope * slope);
    }
  }
  template <class Function>
  double integral(double from, double to, const Function& f) const {
    double sum = 0;
    for (size_t i = 0; i < kPoints; ++i) sum += weight[i] * f(from + place[i] * (to - from));
    return (to - from) * sum;
  }
};

/// The state of the SDE's moments at a time.
struct Moments {
  double t, log_alpha, variance;
};

class SdeSolution {
 public:
  SdeSolution(std::string name, const LinearSde& sde) : name_(std::move(name)), sde_(sde) {
    knots_.push_back({0, 0, sde.sigma_start * sde.sigma_start});
    extend(sde.t_max, 0);
  }

  Level at(double t) const {
    const auto next = std::upper_bound(knots_.begin() + 1, knots_.end(), t,
                                       [](double time, const Moments& m) { return time < m.t; });
    const Moments here = moved(*(next - 1), t);
    const double alpha = std::exp(here.log_alpha), sigma = std::sqrt(here.variance);
    const double f = drift(t), g = diffusion(t);
    return {t, alpha, sigma, f * alpha, f * sigma + g * g / (2 * sigma)};
  }

 private:
  double drift(double t) const { return finite(sde_.drift(t), t, "drift"); }
  double diffusion(double t) const { return finite(sde_.diffusion(t), t, "diffusion"); }
  double finite(double value, double t, const char* what) const {
    check(std::isfinite(value), name_, ": its ", what, " at t = ", t, " is ", value,
          "; it must be finite from 0 to t_max");
    return value;
  }

  /// From one time to a later one, as if both functions were smooth between them.
  Moments moved(const Moments& from, double t) const {
    const auto drift_since = [&](double s) {
      return rule_.integral(from.t, s, [&](double r) { return drift(r); });
    };
    const double whole = drift_since(t);
    const double added = rule_.integral(from.t, t, [&](double s) {
      const double g = diffusion(s);
      return g * g * std::exp(2 * (whole - drift_since(s)));
    });
    return {t, from.log_alpha + whole, from.variance * std::exp(2 * whole) + added};
  }

  /// Knots up to `t`, so near to each other that half-way stops change nothing.
  void extend(double t, int halvings) {
    const Moments from = knots_.back(), whole = moved(from, t);
    const double middle = 0.5 * (from.t + t);
    const Moments half = moved(from, middle), both = moved(half, t);
    if (std::abs(whole.log_alpha - both.log_alpha) <= kTolerance &&
        std::abs(whole.variance - both.variance) <= kTolerance * both.variance) {
      knots_.push_back(half);
      knots_.push_back(both);
      return;
    }
    check(halvings < kMostHalvings, name_, ": its drift or diffusion is too rough near t = ", t,
          " to be integrated; give functions that are smooth between jumps, or start later");
    extend(middle, halvings + 1);
    extend(t, halvings + 1);
  }

  std::string name_;
  LinearSde sde_;
  GaussRule rule_;
  std::vector<Moments> knots_;
};

}  // namespace

Schedule custom_schedule(std::string name, const LinearSde& sde) {
  check(sde.drift && sde.diffusion, name, ": needs both a drift and a diffusion");
  check(sde.t_min >= 0 && sde.t_min < sde.t_max && std::isfinite(sde.t_max), name,
        ": expected 0 <= t_min < t_max, got ", sde.t_min, " and ", sde.t_max);
  check(sde.sigma_start >= 0 && std::isfinite(sde.sigma_start), name,
        ": expected sigma_start >= 0, got ", sde.sigma_start);
  check(sde.prior_std >= 0 && std::isfinite(sde.prior_std), name,
        ": expected prior_std > 0, or 0 for the sigma at t_max, got ", sde.prior_std);
  const SdeSolution solution(name, sde);
  check(solution.at(sde.t_min).sigma > 0, name, ": has no noise at t_min = ", sde.t_min,
        "; raise t_min, or give sigma_start > 0");
  const double prior_std = sde.prior_std > 0 ? sde.prior_std : solution.at(sde.t_max).sigma;
  return custom_curve(std::move(name), sde.t_min, sde.t_max, prior_std,
                      [solution](double t) { return solution.at(t); });
}

Schedule custom_curve(std::string name, double t_min, double t_max, double prior_std,
                      std::function<Level(double t)> curve) {
  check(t_min < t_max, name, ": expected t_min < t_max, got ", t_min, " and ", t_max);
  Schedule schedule;
  schedule.name = name;
  schedule.t_min = t_min;
  schedule.t_max = t_max;
  schedule.prior_std = prior_std;
  schedule.at = [=](double t) {
    const double slack = 1e-12 * (t_max - t_min);
    check(t >= t_min - slack && t <= t_max + slack, name, ": t = ", t, " is outside [", t_min, ", ",
          t_max, "]");
    return curve(t);
  };
  schedule.warnings = schedule_warnings(schedule);
  return schedule;
}

Schedule custom_chain(std::string name, int64_t steps,
                      const std::function<double(int64_t i)>& beta) {
  check(beta != nullptr, name, ": needs a function of the step");
  check(steps >= 1 && steps <= 10'000'000, name, ": a chain needs 1 to 10,000,000 steps, got ",
        steps);
  std::vector<double> betas;
  for (int64_t i = 1; i <= steps; ++i) betas.push_back(beta(i));
  return chain_from_betas(std::move(name), betas);
}

}  // namespace tweedie
