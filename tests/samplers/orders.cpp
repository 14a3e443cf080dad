#include "tests/samplers/orders.h"

#include "tests/model/mixture.h"
#include "tests/model/moments.h"
#include "tweedie/registry.h"

namespace tweedie::testing {
namespace {

constexpr double kFrom = 20, kTo = 0.05;

using Point = std::array<double, 2>;

/// d x / d log(sigma) of the probability flow where alpha = 1: sigma eps = x - E[x_0 | x].
Point flow_slope(const Point& x, double sigma) {
  double total = 0;
  Point x0 = {};
  for (const Component& c : kMixture) {
    double term = c.weight;
    Point of_component;
    for (size_t d = 0; d < 2; ++d) {
      const double var = c.var[d] + sigma * sigma, off = x[d] - c.mean[d];
      term *= std::exp(-0.5 * off * off / var) / std::sqrt(var);
      of_component[d] = c.mean[d] + c.var[d] / var * off;
    }
    total += term;
    for (size_t d = 0; d < 2; ++d) x0[d] += term * of_component[d];
  }
  return {x[0] - x0[0] / total, x[1] - x0[1] / total};
}

/// The flow from sigma = `from` to `to` by Runge and Kutta's fourth order: 4000 steps of 0.0015
/// are exact to about 1e-12.
Point exact_flow(Point x, double from, double to) {
  const int steps = 4000;
  const double h = std::log(to / from) / steps;
  for (int i = 0; i < steps; ++i) {
    const double s = from * std::exp(h * i), mid = s * std::exp(h / 2), end = s * std::exp(h);
    const auto moved = [&](const Point& k, double by) {
      return Point{x[0] + by * k[0], x[1] + by * k[1]};
    };
    const Point a = flow_slope(x, s), b = flow_slope(moved(a, h / 2), mid),
                c = flow_slope(moved(b, h / 2), mid), e = flow_slope(moved(c, h), end);
    for (size_t d = 0; d < 2; ++d) x[d] += h / 6 * (a[d] + 2 * b[d] + 2 * c[d] + e[d]);
  }
  return x;
}

/// Slope of the line of least squares through (x, y).
double slope_of_line(const std::vector<double>& x, const std::vector<double>& y) {
  double mean_x = 0, mean_y = 0, xy = 0, xx = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    mean_x += x[i] / static_cast<double>(x.size());
    mean_y += y[i] / static_cast<double>(x.size());
  }
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean_x) * (y[i] - mean_y);
    xx += (x[i] - mean_x) * (x[i] - mean_x);
  }
  return xy / xx;
}

const Tensor& exact_ends() {
  static const Tensor ends = [] {
    const Tensor start = starts(16, kFrom);
    Tensor out = at::empty_like(start);
    for (int64_t i = 0; i < start.size(0); ++i) {
      const Point end =
          exact_flow({start[i][0].item<double>(), start[i][1].item<double>()}, kFrom, kTo);
      for (size_t d = 0; d < 2; ++d) out[i][static_cast<int64_t>(d)] = end[d];
    }
    return out;
  }();
  return ends;
}

MeasuredOrder with_slope(std::vector<int64_t> steps, std::vector<double> errors) {
  std::vector<double> x, y;
  for (size_t i = 0; i < steps.size(); ++i) {
    x.push_back(std::log(static_cast<double>(steps[i])));
    y.push_back(std::log(std::abs(errors[i])));
  }
  const double slope = -slope_of_line(x, y);
  return {std::move(steps), std::move(errors), slope};
}

/// Even in log-SNR; with `warm` the first step is made of twelve doubling ones, so that what is
/// measured is not the low order that a multistep method starts with.
Path path_of(int64_t steps, bool warm) {
  Path path = log_snr_path(edm(kTo, kFrom), steps + 1);
  if (!warm) return path;
  const double first = log_snr(path[0]), step = log_snr(path[1]) - first;
  std::vector<Level> extra;
  for (int k = 12; k >= 1; --k) extra.push_back(path.between(first + step * std::ldexp(1, -k)));
  path.insert(path.begin() + 1, extra.begin(), extra.end());
  return path;
}

Noise never() {
  return [](const Tensor&, const Level&, const Level&) -> Tensor {
    throw Error("a deterministic sampler asked for noise");
  };
}

}  // namespace

MeasuredOrder flow_order(const Sampler& sampler, const std::vector<int64_t>& steps, bool warm) {
  std::vector<double> errors;
  for (const int64_t n : steps) {
    const Tensor out =
        sampler(mixture_denoiser, starts(16, kFrom), path_of(n, warm), {}, never(), {});
    errors.push_back((out - exact_ends()).abs().mean().item<double>());
  }
  return with_slope(steps, errors);
}

MeasuredOrder variance_order(const Sampler& sampler, const std::vector<int64_t>& steps) {
  const Schedule schedule = vp_linear(0.1, 20, 1e-3);
  std::vector<double> errors;
  for (const int64_t n : steps) {
    const Path path = bound_path(schedule, n);
    errors.push_back(moments_of(sampler, exact_denoiser(), path).var - marginal_var(path.back()));
  }
  return with_slope(steps, errors);
}

std::vector<OrderCase> order_cases() {
  const std::vector<int64_t> usual = {80, 160, 320, 640}, few = {40, 80, 160, 320},
                             many = {400, 800, 1600, 3200};
  return {
      {"ddim", R"({"clip": false})", false, usual, 1, 0.05},
      {"euler", "{}", false, usual, 1, 0.05},
      {"heun", "{}", false, usual, 2, 0.05},
      {"midpoint", "{}", false, usual, 2, 0.05},
      {"flow-euler", "{}", false, usual, 1, 0.05},
      {"flow-heun", "{}", false, usual, 2, 0.05},
      {"dpm-1", "{}", false, usual, 1, 0.05},
      {"dpm-2", "{}", false, usual, 2, 0.05},
      {"dpm-3", "{}", false, few, 3, 0.05},
      {"dpm++2s", "{}", false, usual, 2, 0.05},
      {"dpm++2m", "{}", false, usual, 2, 0.15},
      {"dpm++3m", "{}", false, usual, 3, 0.15, true},
      {"dpm++3m-customary", "{}", false, usual, 2, 0.15},
      {"dpm-2m", "{}", false, usual, 2, 0.15},
      {"deis", "{}", false, usual, 3, 0.15, true},
      {"unipc", R"({"order": 2, "corrector": 3})", false, usual, 3, 0.15, true},
      {"unipc", "{}", false, {160, 320, 640, 1280}, 4, 0.15, true},
      {"lms", "{}", false, usual, 4, 0.15, true},
      {"plms", "{}", false, usual, 2, 0.15},
      {"pndm", "{}", false, usual, 2, 0.15},
      {"ipndm", "{}", false, usual, 2, 0.15},
      {"ddpm", R"({"clip": false, "variance": "small"})", true, many, 1, 0.05},
      {"ddpm", R"({"clip": false, "variance": "large"})", true, many, 1, 0.05},
      {"ddim", R"({"clip": false, "eta": 1})", true, many, 1, 0.05},
      {"euler-maruyama", R"({"noise_at_end": true})", true, many, 1, 0.05},
      {"reverse-diffusion", R"({"noise_at_end": true})", true, many, 1, 0.05},
      {"dpm++sde", "{}", true, {1600, 3200}, 1, 0.05},
      {"dpm++2s-ancestral", "{}", true, {1600, 3200}, 2, 0.15},
      {"dpm++2m-sde", "{}", true, many, 2, 0.15},
      {"dpm++3m-sde", "{}", true, many, 3, 0.15},
  };
}

MeasuredOrder measure(const OrderCase& order_case) {
  const Registry registry = builtin();
  const Sampler sampler = find_entry(registry.samplers, order_case.name, "sampler")
                              .make(Json::parse(order_case.options));
  return order_case.stochastic ? variance_order(sampler, order_case.steps)
                               : flow_order(sampler, order_case.steps, order_case.warm);
}

}  // namespace tweedie::testing
