#include "tweedie/samplers/linear_multistep.h"

#include <cmath>
#include <deque>

#include "tweedie/base/error.h"
#include "tweedie/samplers/exponential.h"
#include "tweedie/samplers/walk.h"

namespace tweedie {
namespace {

/// Those of the polynomial through `nodes` (newest first), for a step from nodes[0] to `end`, as
/// shares of the step.
std::vector<double> exact_weights(const std::vector<double>& nodes, double end) {
  const double step = end - nodes[0];
  for (size_t k = 1; k < nodes.size(); ++k)
    check(nodes[k] != nodes[k - 1], "linear_multistep: two levels of the path in a row are equal");
  check(step != 0, "linear_multistep: two levels of the path in a row are equal");
  std::vector<double> scaled, moments;  // in steps, for numbers near 1
  for (size_t k = 0; k < nodes.size(); ++k) {
    scaled.push_back((nodes[k] - nodes[0]) / step);
    moments.push_back(1 / static_cast<double>(k + 1));
  }
  return weights_of_moments(scaled, moments);
}

/// DDIM's move with a given eps.
Tensor moved(const Tensor& x, const Tensor& eps, const Level& t, const Level& s) {
  return (s.alpha / t.alpha) * x + (s.alpha * (noise_ratio(s) - noise_ratio(t))) * eps;
}

struct PastEps {
  double ratio;
  Tensor eps;
};

Tensor weighted(const std::deque<PastEps>& known, const std::vector<double>& weights) {
  Tensor out = weights[0] * known[0].eps;
  for (size_t j = 1; j < weights.size(); ++j) out.add_(known[j].eps, weights[j]);
  return out;
}

}  // namespace

std::vector<double> even_weights(size_t order) {
  switch (order) {
    case 1:
      return {1};
    case 2:
      return {3.0 / 2, -1.0 / 2};
    case 3:
      return {23.0 / 12, -16.0 / 12, 5.0 / 12};
    default:
      return {55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24};
  }
}

Sampler linear_multistep(LinearMultistepOptions options) {
  check(options.order >= 1 && options.order <= 4,
        "linear_multistep: expected an order of 1 to 4, got ", options.order);
  check(options.weights == "exact" || options.weights == "even",
        "linear_multistep: unknown weights '", options.weights, "'",
        suggestion(options.weights, {"exact", "even"}));
  const std::vector<std::string> starts = {"lower", "heun", "runge-kutta"};
  check(std::find(starts.begin(), starts.end(), options.start) != starts.end(),
        "linear_multistep: unknown start '", options.start, "'", suggestion(options.start, starts));
  return [=](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
             const Noise&, const Observer& observe) {
    std::deque<PastEps> known;  // newest first
    const auto eps_at = [&](const Tensor& state, const Level& level, Tensor* x0 = nullptr) {
      const Tensor predicted = denoiser(state, level, condition).x0;
      if (x0 != nullptr) *x0 = predicted;
      return eps_from_x0(state, predicted, level);
    };
    return walk(
        "linear_multistep", x, path, observe,
        [&](const Tensor& state, const Level& t, const Level& s, int64_t i) {
          Tensor x0;
          known.push_front({noise_ratio(t), eps_at(state, t, &x0)});
          if (t.alpha == 0) {
            const Tensor next = s.alpha * x0 + s.sigma * known[0].eps;
            if (options.weights == "exact") known.clear();
            return Stepped{next, x0};
          }
          if (known.size() > static_cast<size_t>(options.order)) known.pop_back();
          const Tensor& eps = known[0].eps;
          if (i == 0 && options.start == "heun" && s.sigma > 0)
            return Stepped{moved(state, 0.5 * (eps + eps_at(moved(state, eps, t, s), s)), t, s),
                           x0};
          if (i < 3 && options.start == "runge-kutta" && s.sigma > 0) {
            check(bool(path.between),
                  "linear_multistep: start=runge-kutta needs the levels between "
                  "the path's own, which this path does not know");
            const Level middle = path.between(0.5 * (log_snr(t) + log_snr(s)));
            const Tensor second = eps_at(moved(state, eps, t, middle), middle),
                         third = eps_at(moved(state, second, t, middle), middle),
                         fourth = eps_at(moved(state, third, t, s), s);
            return Stepped{moved(state, (eps + 2 * second + 2 * third + fourth) / 6, t, s), x0};
          }
          std::vector<double> nodes;
          for (const PastEps& one : known) nodes.push_back(one.ratio);
          const std::vector<double> weights = options.weights == "even"
                                                  ? even_weights(known.size())
                                                  : exact_weights(nodes, noise_ratio(s));
          return Stepped{moved(state, weighted(known, weights), t, s), x0};
        });
  };
}

}  // namespace tweedie
