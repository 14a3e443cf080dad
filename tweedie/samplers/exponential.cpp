#include "tweedie/samplers/exponential.h"

#include <algorithm>
#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/base/fields.h"

namespace tweedie {
namespace {

/// int_0^h kernel(u) u^k du / scale = k! h^(k+1) phi_(k+1)(z).
std::vector<double> moments_of_step(double scale, double h, double z, size_t count) {
  const std::vector<double> phi = phi_functions(z, count);
  std::vector<double> out;
  double factor = scale * h;
  for (size_t k = 0; k < count; ++k) {
    out.push_back(factor * phi[k]);
    factor *= h * static_cast<double>(k + 1);
  }
  return out;
}

void close(std::vector<double>& moments, Closure closure, double scale, double h,
           bool half_curvature) {
  if (closure == Closure::half && moments.size() == 2) moments[1] = 0.5 * h * moments[0];
  if (closure == Closure::half_step && moments.size() == 2) moments[1] = 0.5 * h * h * scale;
  if (half_curvature && moments.size() == 3) moments[2] *= 0.5;
}

}  // namespace

Form form_named(const std::string& name, const char* sampler) {
  check(name == "x0" || name == "eps", sampler, ": unknown form '", name, "'",
        suggestion(name, {"x0", "eps"}));
  return name == "x0" ? Form::x0 : Form::eps;
}

Closure closure_named(const std::string& name, const char* sampler) {
  static const std::vector<std::string> names = {"exact", "half", "half_step"};
  const auto found = std::find(names.begin(), names.end(), name);
  check(found != names.end(), sampler, ": unknown closure '", name, "'", suggestion(name, names));
  return static_cast<Closure>(found - names.begin());
}

double half_log_snr(const Level& level) { return std::log(level.alpha) - std::log(level.sigma); }

std::vector<double> phi_functions(double z, size_t count) {
  std::vector<double> phi(count);
  if (std::abs(z) < 1) {  // sum_n z^n / (n + k)!, where the recurrence would cancel
    double inverse_factorial = 1;
    for (size_t k = 1; k <= count; ++k) {
      inverse_factorial /= static_cast<double>(k);
      double term = inverse_factorial, sum = 0;
      for (size_t n = 1; std::abs(term) > 1e-18 * std::abs(sum); ++n) {
        sum += term;
        term *= z / static_cast<double>(n + k);
      }
      phi[k - 1] = sum;
    }
    return phi;
  }
  double last = std::exp(z), inverse_factorial = 1;
  for (size_t k = 1; k <= count; ++k) {
    last = k == 1 ? std::expm1(z) / z : (last - inverse_factorial) / z;
    phi[k - 1] = last;
    inverse_factorial /= static_cast<double>(k);
  }
  return phi;
}

std::vector<double> weights_of_moments(const std::vector<double>& nodes,
                                       const std::vector<double>& moments) {
  // Björck & Pereyra 1970, the primal Vandermonde system: O(n^2), and accurate.
  std::vector<double> w = moments;
  const size_t n = nodes.size();
  for (size_t k = 0; k + 1 < n; ++k)
    for (size_t i = n - 1; i > k; --i) w[i] -= nodes[k] * w[i - 1];
  for (size_t k = n - 1; k-- > 0;) {
    for (size_t i = k + 1; i < n; ++i) w[i] /= nodes[i] - nodes[i - k - 1];
    for (size_t i = k; i + 1 < n; ++i) w[i] -= w[i + 1];
  }
  return w;
}

StepWeights exponential_step(const Level& t, const Level& s, Form form,
                             const std::vector<double>& nodes, Closure closure, double eta,
                             bool half_curvature) {
  StepWeights out{0, std::vector<double>(nodes.size(), 0.0), 0};
  if (form == Form::eps) {
    check(t.alpha > 0, "a solver of the eps form cannot start at t = ", t.t,
          ", which has no signal (alpha = 0); use an x0 form (the ++ solvers), or lower t_max");
    check(eta == 0 || s.sigma > 0, "a stochastic solver of the eps form cannot reach clean data");
    out.keep = s.alpha / t.alpha;
    if (s.sigma == 0) {
      out.prediction[0] = -s.alpha * t.sigma / t.alpha;
      return out;
    }
  } else if (s.sigma == 0 || t.alpha == 0) {
    // The end at data is the prediction itself; from pure noise nothing but the noise is kept.
    const double kept = s.sigma / t.sigma;
    const double lost = t.alpha == 0 ? 0 : kept * t.alpha;
    check(eta == 0 || s.sigma == 0 || t.alpha > 0, "a stochastic solver cannot start at t = ", t.t,
          ", which has no signal (alpha = 0); take "
          "eta = 0");
    out.keep = kept;
    out.prediction[0] = s.alpha - lost;
    return out;
  }
  const double lambda = half_log_snr(t), h = half_log_snr(s) - lambda;
  std::vector<double> finite;
  for (const double node : nodes)
    if (std::isfinite(node)) finite.push_back(node - lambda);
  for (size_t j = 1; j < finite.size(); ++j)
    check(finite[j] != finite[j - 1], "two levels of the path in a row are equal, at t = ", t.t,
          "; list each once");
  const double scale = (1 + eta) * (form == Form::x0 ? s.alpha : -s.sigma);
  std::vector<double> moments =
      moments_of_step(scale, h, form == Form::x0 ? -(1 + eta) * h : h, finite.size());
  close(moments, closure, scale, h, half_curvature);
  const std::vector<double> weights = weights_of_moments(finite, moments);
  size_t next = 0;
  for (size_t j = 0; j < nodes.size(); ++j)
    if (std::isfinite(nodes[j])) out.prediction[j] = weights[next++];
  if (form == Form::x0) {
    out.keep = s.sigma / t.sigma * std::exp(-eta * h);
    out.noise = s.sigma * std::sqrt(-std::expm1(-2 * eta * h));
  } else {
    out.noise = s.sigma * std::sqrt(eta * std::expm1(2 * h));
  }
  return out;
}

}  // namespace tweedie
