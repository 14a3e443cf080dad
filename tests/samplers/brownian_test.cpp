#include <doctest/doctest.h>

#include "tests/samplers/drawn.h"
#include "tweedie/base/error.h"
#include "tweedie/samplers/brownian.h"
#include "tweedie/samplers/exponential.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

Tensor normals(int64_t step, int64_t count) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < count; ++i) samples.push_back(i);
  return keyed_normal({11, Stream::sampling}, samples, step, {1}).to(at::kDouble);
}

/// Bridged `depth` times: 2^depth + 1 points at even distances of the half log-SNR, whose clock is
/// the SNR.
std::vector<BrownianPoint> bridged(double from, double to, int depth, int64_t count) {
  const auto clock = [&](double share) { return std::exp(2 * (from + share * (to - from))); };
  const BrownianPoint start{clock(0), at::zeros({count, 1}, f64())};
  int64_t draw = 0;
  std::vector<BrownianPoint> points = {
      start, brownian_after(start, clock(1) - clock(0), normals(draw++, count))};
  for (int level = 0; level < depth; ++level) {
    std::vector<BrownianPoint> finer;
    const double pieces = static_cast<double>(points.size() - 1);
    for (size_t k = 0; k + 1 < points.size(); ++k) {
      finer.push_back(points[k]);
      finer.push_back(brownian_between(points[k], points[k + 1],
                                       clock((static_cast<double>(k) + 0.5) / pieces),
                                       normals(draw++, count)));
    }
    finer.push_back(points.back());
    points = std::move(finer);
  }
  return points;
}

}  // namespace

TEST_CASE("the increments of a halved step add up to the whole one, to the last bit") {
  const std::vector<BrownianPoint> points = bridged(-4, 3, 6, 100);
  for (size_t stride = 2; stride <= 64; stride *= 2)
    for (size_t k = 0; k + stride < points.size(); k += stride) {
      const Tensor whole = points[k + stride].value - points[k].value,
                   left = points[k + stride / 2].value - points[k].value,
                   right = points[k + stride].value - points[k + stride / 2].value;
      CHECK(at::equal(left + right, whole));
    }
}

TEST_CASE(
    "a bridged path has the increments of a Brownian motion: independent, of variance their "
    "length") {
  const int64_t count = 20000;
  const std::vector<BrownianPoint> points = bridged(-1, 0.5, 3, count);
  std::vector<Tensor> scaled;
  for (size_t k = 0; k + 1 < points.size(); ++k)
    scaled.push_back((points[k + 1].value - points[k].value) /
                     std::sqrt(points[k + 1].clock - points[k].clock));
  const Tensor all = at::cat(scaled, 1);
  const Tensor covariance = all.t().matmul(all) / static_cast<double>(count);
  // Standard errors: sqrt(2 / n) on the diagonal, 1 / sqrt(n) off it; 64 checks.
  CHECK(distance(covariance, at::eye(8, f64())) <= 4 * std::sqrt(2.0 / static_cast<double>(count)));
}

TEST_CASE("with common noise the exponential step of the reverse SDE has strong order 1") {
  const Schedule schedule = vp_linear(0.1, 20, 1e-3);
  const double from = half_log_snr(schedule.at(1)), to = half_log_snr(schedule.at(1e-3));
  const Curve curve = curve_of(schedule);
  const std::vector<BrownianPoint> points = bridged(from, to, 10, 100);
  const Tensor start = normals(9999, 100);
  const auto solved = [&](size_t steps) {
    const size_t stride = (points.size() - 1) / steps;
    Tensor x = start;
    Level t = schedule.at(1);
    for (size_t k = 0; k + stride < points.size(); k += stride) {
      const Level s = curve(2 * (from + (to - from) * static_cast<double>(k + stride) /
                                            static_cast<double>(points.size() - 1)));
      const StepWeights weights =
          exponential_step(t, s, Form::x0, {half_log_snr(t)}, Closure::exact, 1);
      const Tensor x0 = exact_x0(x, t);
      x = weights.keep * x + weights.prediction[0] * x0 +
          s.sigma * std::exp(-half_log_snr(s)) * (points[k + stride].value - points[k].value);
      t = s;
    }
    return x;
  };
  const Tensor fine = solved(1024);
  double last = 0;
  for (const size_t steps : {16, 32, 64}) {
    const double error = (solved(steps) - fine).square().mean().sqrt().item<double>();
    if (last > 0) CHECK(std::log2(last / error) == doctest::Approx(1).epsilon(0.1));
    last = error;
  }
}
