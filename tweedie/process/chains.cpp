#include <algorithm>
#include <cmath>
#include <numbers>

#include "tweedie/base/error.h"
#include "tweedie/process/schedule.h"

namespace tweedie {
namespace {

constexpr double kNoTangent = std::numeric_limits<double>::quiet_NaN();

void check_steps(int64_t steps) {
  check(steps >= 1 && steps <= 10'000'000, "schedule: a chain needs 1 to 10,000,000 steps, got ",
        steps);
}

void check_ends(double first, double last) {
  check(first > 0 && last <= 1 && first <= last,
        "schedule: expected 0 < beta_start <= beta_end <= 1, got beta_start = ", first,
        " and beta_end = ", last);
}

/// i-th of `steps` evenly spaced values from first to last.
double between(double first, double last, int64_t i, int64_t steps) {
  return steps == 1
             ? first
             : first + (last - first) * static_cast<double>(i) / static_cast<double>(steps - 1);
}

template <class Beta>
std::vector<double> table(int64_t steps, const Beta& beta) {
  check_steps(steps);
  std::vector<double> betas(static_cast<size_t>(steps));
  for (int64_t i = 0; i < steps; ++i) betas[static_cast<size_t>(i)] = beta(i);
  return betas;
}

}  // namespace

Schedule chain_from_betas(std::string name, const std::vector<double>& betas) {
  const int64_t steps = static_cast<int64_t>(betas.size());
  check_steps(steps);
  struct Amplitudes {
    double alpha = 1, sigma = 0;
  };
  std::vector<Amplitudes> amplitudes(betas.size() + 1);
  double log_alpha = 0;
  for (size_t i = 0; i < betas.size(); ++i) {
    check(betas[i] > 0 && betas[i] <= 1, name, ": beta of step ", i + 1, " is ", betas[i],
          "; expected a value in (0, 1]: every step adds noise");
    check(betas[i] < 1 || i + 1 == betas.size(), name, ": beta of step ", i + 1, " of ", steps,
          " is 1, so nothing is left for the later steps to destroy; only the last may be 1");
    log_alpha += 0.5 * std::log1p(-betas[i]);
    amplitudes[i + 1] = {std::exp(log_alpha), std::sqrt(-std::expm1(2 * log_alpha))};
  }
  Schedule chain;
  chain.name = std::move(name);
  chain.steps = steps;
  chain.t_min = 1.0 / static_cast<double>(steps);
  chain.t_max = 1;
  chain.at = [amplitudes, steps](double t) {
    const double place = t * static_cast<double>(steps);
    const int64_t i = std::llround(place);
    check(i >= 0 && i <= steps && std::abs(place - static_cast<double>(i)) <= 1e-6, "chain of ",
          steps, " steps: t = ", t, " is not one of its times i/", steps,
          "; interpolated(chain) is continuous");
    if (i == 0) return clean;
    const Amplitudes& after = amplitudes[static_cast<size_t>(i)];
    return Level{t, after.alpha, after.sigma, kNoTangent, kNoTangent};
  };
  chain.warnings = schedule_warnings(chain);
  return chain;
}

std::vector<double> linear_betas(int64_t steps, double beta_start, double beta_end) {
  check_ends(beta_start, beta_end);
  return table(steps, [&](int64_t i) { return between(beta_start, beta_end, i, steps); });
}

std::vector<double> scaled_linear_betas(int64_t steps, double beta_start, double beta_end) {
  check_ends(beta_start, beta_end);
  return table(steps, [&](int64_t i) {
    const double root = between(std::sqrt(beta_start), std::sqrt(beta_end), i, steps);
    return root * root;
  });
}

std::vector<double> cosine_betas(int64_t steps, double max_beta) {
  // Nichol & Dhariwal 2021 (arXiv:2102.09672), eq. 17: alpha_bar(t) = cos^2((t + 0.008)/1.008
  // pi/2).
  check(max_beta > 0 && max_beta <= 1, "schedule.max_beta: expected a value in (0, 1], got ",
        max_beta);
  // beta = 1 - cos^2 b / cos^2 a = sin(a + b) sin(b - a) / cos^2 a, which does not cancel; in the
  // angle c = pi/2 - a, which keeps its digits at the end of the chain.
  const double n = static_cast<double>(steps), turn = std::numbers::pi / (2 * 1.008 * n);  // b - a
  return table(steps, [&](int64_t i) {
    const double c = turn * static_cast<double>(steps - i), sin_c = std::sin(c);
    return std::min(std::sin(2 * c - turn) * std::sin(turn) / (sin_c * sin_c), max_beta);
  });
}

std::vector<double> sigmoid_betas(int64_t steps, double beta_start, double beta_end) {
  check_ends(beta_start, beta_end);
  return table(steps, [&](int64_t i) {
    return beta_start + (beta_end - beta_start) / (1 + std::exp(-between(-6, 6, i, steps)));
  });
}

std::vector<double> sohl_dickstein_betas(int64_t steps) {
  // Sohl-Dickstein et al. 2015 (arXiv:1503.03585), section 2.4.1: a fixed fraction of the signal is
  // erased at each step.  Their code spaces the denominator evenly from T to 2 and keeps beta above
  // 1e-6, the first one above 1e-6 + 1e-3.
  const double n = static_cast<double>(steps);
  return table(steps, [&](int64_t i) {
    return std::max(1 / between(n, std::min(n, 2.0), i, steps), i == 0 ? 1.001e-3 : 1e-6);
  });
}

std::vector<double> zero_terminal_snr(const std::vector<double>& betas) {
  check(betas.size() >= 2, "zero_terminal_snr: needs a chain of at least 2 steps, got ",
        betas.size());
  for (size_t i = 0; i < betas.size(); ++i)
    check(betas[i] > 0 && betas[i] <= 1, "zero_terminal_snr: beta of step ", i + 1, " is ",
          betas[i], "; expected a value in (0, 1]");
  std::vector<double> alpha(betas.size());  // sqrt(alpha_bar)
  double log_alpha = 0;
  for (size_t i = 0; i < betas.size(); ++i)
    alpha[i] = std::exp(log_alpha += 0.5 * std::log1p(-betas[i]));
  const double first = alpha.front(), last = alpha.back();
  for (double& a : alpha) a = (a - last) * first / (first - last);
  std::vector<double> out(betas.size());
  out[0] = betas[0];  // the shift and the scale leave the first step as it was
  for (size_t i = 1; i < betas.size(); ++i) {
    const double ratio = alpha[i] / alpha[i - 1];
    out[i] = 1 - ratio * ratio;
  }
  return out;
}

double rescaled_beta(double beta_at_1000, int64_t steps) {
  check_steps(steps);
  return std::min(0.999, beta_at_1000 * 1000 / static_cast<double>(steps));
}

Schedule linear_chain(int64_t steps) {
  return chain_from_betas(
      "linear", linear_betas(steps, rescaled_beta(1e-4, steps), rescaled_beta(0.02, steps)));
}

Schedule cosine_chain(int64_t steps) { return chain_from_betas("cosine", cosine_betas(steps)); }

}  // namespace tweedie
