#include "tweedie/model/dormand_prince.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

// Dormand & Prince 1980, table 2: places of the stages, their weights, and what the fifth order's
// weights (the last row) have more than the fourth's.
constexpr int kStages = 7;
constexpr double kPlace[kStages] = {0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1};
constexpr double kWeight[kStages][kStages - 1] = {
    {},
    {1.0 / 5},
    {3.0 / 40, 9.0 / 40},
    {44.0 / 45, -56.0 / 15, 32.0 / 9},
    {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
    {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
    {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}};
constexpr double kError[kStages] = {71.0 / 57600,      0,          -71.0 / 16695, 71.0 / 1920,
                                    -17253.0 / 339200, 22.0 / 525, -1.0 / 40};

/// A row of each example: y, then the sums.  Loops over rows, so that no row knows of the others.
using Rows = std::vector<std::vector<double>>;

struct Example {
  double at, step;  // signed
  int64_t evaluations = 0;
  bool rejected = false;  // its last step was
};

class Integration {
 public:
  Integration(const SlopeOf& slope, const at::Tensor& y, int64_t sums, double from, double to,
              const DormandPrinceOptions& options)
      : slope_(slope),
        shape_(y.sizes().vec()),
        dims_(y.numel() / std::max<int64_t>(1, y.size(0))),
        sums_(sums),
        to_(to),
        options_(options),
        examples_(static_cast<size_t>(y.size(0))) {
    const at::Tensor start = y.detach().to(at::kCPU, at::kDouble).contiguous();
    const double* data = start.data_ptr<double>();
    for (size_t i = 0; i < examples_.size(); ++i, data += dims_) {
      examples_[i] = {from, to - from};
      rows_.emplace_back(data, data + dims_);
      rows_.back().resize(static_cast<size_t>(dims_ + sums_));
      if (from != to) active_.push_back(static_cast<int64_t>(i));
    }
  }

  OdeSolution solve() {
    if (!active_.empty()) choose_first_steps();
    while (!active_.empty()) advance();
    return solution();
  }

 private:
  size_t width() const { return static_cast<size_t>(dims_ + sums_); }
  Example& example(size_t a) { return examples_[static_cast<size_t>(active_[a])]; }
  std::vector<double>& row(size_t a) { return rows_[static_cast<size_t>(active_[a])]; }

  /// The slopes of the active examples at the given places and states.
  Rows evaluate(const std::vector<double>& at, const Rows& states) {
    std::vector<int64_t> sizes = shape_;
    sizes[0] = static_cast<int64_t>(active_.size());
    at::Tensor y = at::empty(sizes, at::kDouble);
    for (size_t a = 0; a < active_.size(); ++a)
      std::copy_n(states[a].data(), dims_, y.data_ptr<double>() + static_cast<int64_t>(a) * dims_);
    const Slope slope = slope_(at, y, active_);
    check(slope.y.numel() == y.numel() && (sums_ == 0 || slope.sums.numel() == sizes[0] * sums_),
          "dormand_prince: the slope has ", slope.y.numel(), " numbers and ",
          sums_ == 0 ? 0 : slope.sums.numel(), " rates; expected ", y.numel(), " and ",
          sizes[0] * sums_);
    const at::Tensor dy = slope.y.to(at::kCPU, at::kDouble).contiguous(),
                     rates = sums_ == 0 ? at::zeros({0}, at::kDouble)
                                        : slope.sums.to(at::kCPU, at::kDouble).contiguous();
    Rows out(active_.size(), std::vector<double>(width()));
    for (size_t a = 0; a < active_.size(); ++a) {
      const int64_t i = static_cast<int64_t>(a);
      std::copy_n(dy.data_ptr<double>() + i * dims_, dims_, out[a].data());
      std::copy_n(rates.data_ptr<double>() + i * sums_, sums_, out[a].data() + dims_);
      ++example(a).evaluations;
      for (const double value : out[a])
        check(std::isfinite(value), "dormand_prince: the slope of example ", active_[a],
              " is not finite at ", at[a]);
    }
    return out;
  }

  /// The size of `error` in units of what is allowed at states of the sizes of `a` and `b`: of y
  /// the root mean square, and the largest of it and of every sum.
  double size_of(const std::vector<double>& error, const std::vector<double>& a,
                 const std::vector<double>& b) const {
    double squares = 0, largest = 0;
    for (size_t i = 0; i < error.size(); ++i) {
      const bool of_y = i < static_cast<size_t>(dims_);
      const double scale = std::max(std::abs(a[i]), std::abs(b[i]));
      const double part = error[i] / (of_y ? options_.atol + options_.rtol * scale
                                           : options_.sums_atol + options_.sums_rtol * scale);
      if (of_y)
        squares += part * part;
      else
        largest = std::max(largest, std::abs(part));
    }
    return std::max(largest, dims_ > 0 ? std::sqrt(squares / static_cast<double>(dims_)) : 0);
  }

  /// Hairer, Norsett & Wanner 1993, page 169: from the first two derivatives.
  void choose_first_steps() {
    std::vector<double> at(active_.size()), trial(active_.size());
    Rows states;
    for (size_t a = 0; a < active_.size(); ++a) {
      at[a] = example(a).at;
      states.push_back(row(a));
    }
    first_ = evaluate(at, states);
    Rows moved = states;
    for (size_t a = 0; a < active_.size(); ++a) {
      const double d0 = size_of(states[a], states[a], states[a]),
                   d1 = size_of(first_[a], states[a], states[a]);
      const double range = to_ - at[a];
      // Not far into what the first slope says nothing of.
      trial[a] = std::copysign(
          std::min(0.1 * std::abs(range), d0 < 1e-5 || d1 < 1e-5 ? 1e-6 : 0.01 * d0 / d1), range);
      for (size_t i = 0; i < width(); ++i) moved[a][i] += trial[a] * first_[a][i];
      at[a] += trial[a];
    }
    const Rows second = evaluate(at, moved);
    for (size_t a = 0; a < active_.size(); ++a) {
      std::vector<double> change(width());
      for (size_t i = 0; i < width(); ++i) change[i] = second[a][i] - first_[a][i];
      const double h0 = std::abs(trial[a]), d1 = size_of(first_[a], states[a], states[a]),
                   d2 = size_of(change, states[a], states[a]) / h0, d = std::max(d1, d2);
      const double h1 = d <= 1e-15 ? std::max(1e-6, h0 * 1e-3) : std::pow(0.01 / d, 1.0 / 5);
      example(a).step = std::copysign(std::min(100 * h0, h1), to_ - example(a).at);
    }
  }

  /// One trial step of every active example.
  void advance() {
    std::vector<double> at(active_.size()), step(active_.size());
    for (size_t a = 0; a < active_.size(); ++a) {
      const Example& e = example(a);
      const bool last = std::abs(e.step) >= std::abs(to_ - e.at);
      step[a] = last ? to_ - e.at : e.step;
    }
    std::vector<Rows> slopes{first_};
    Rows states(active_.size(), std::vector<double>(width()));
    for (size_t stage = 1; stage < kStages; ++stage) {
      for (size_t a = 0; a < active_.size(); ++a) {
        at[a] = example(a).at + kPlace[stage] * step[a];
        for (size_t i = 0; i < width(); ++i) {
          double sum = 0;
          for (size_t j = 0; j < stage; ++j) sum += kWeight[stage][j] * slopes[j][a][i];
          states[a][i] = row(a)[i] + step[a] * sum;
        }
      }
      slopes.push_back(evaluate(at, states));
    }
    finish_step(step, slopes, states);
  }

  void finish_step(const std::vector<double>& step, const std::vector<Rows>& slopes,
                   const Rows& states) {
    std::vector<int64_t> still;
    Rows first;
    for (size_t a = 0; a < active_.size(); ++a) {
      Example& e = example(a);
      std::vector<double> error(width());
      for (size_t i = 0; i < width(); ++i) {
        for (size_t j = 0; j < kStages; ++j) error[i] += kError[j] * slopes[j][a][i];
        error[i] *= step[a];
      }
      const double size = size_of(error, row(a), states[a]);
      const double factor = std::clamp(0.9 * std::pow(size, -1.0 / 5), 0.2, 10.0);
      const bool accepted = size <= 1;
      if (accepted) {
        e.at = step[a] == to_ - e.at ? to_ : e.at + step[a];
        row(a) = states[a];
      }
      e.step = step[a] * (accepted && e.rejected ? std::min(1.0, factor) : factor);
      e.rejected = !accepted;
      const bool spent = e.evaluations + kStages - 1 > options_.max_evaluations;
      const bool stuck = e.at + 0.1 * e.step == e.at;
      if (e.at == to_ || spent || stuck) continue;
      still.push_back(active_[a]);
      first.push_back(accepted ? slopes.back()[a] : slopes.front()[a]);
    }
    active_ = std::move(still);
    first_ = std::move(first);
  }

  OdeSolution solution() const {
    OdeSolution out;
    out.y = at::empty(shape_, at::kDouble);
    out.sums = at::empty({static_cast<int64_t>(examples_.size()), sums_}, at::kDouble);
    for (size_t i = 0; i < examples_.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i);
      std::copy_n(rows_[i].data(), dims_, out.y.data_ptr<double>() + at * dims_);
      std::copy_n(rows_[i].data() + dims_, sums_, out.sums.data_ptr<double>() + at * sums_);
      out.reached.push_back(examples_[i].at);
      out.evaluations.push_back(examples_[i].evaluations);
      if (examples_[i].at != to_) out.unfinished.push_back(at);
    }
    return out;
  }

  const SlopeOf& slope_;
  const std::vector<int64_t> shape_;
  const int64_t dims_, sums_;
  const double to_;
  const DormandPrinceOptions options_;
  std::vector<Example> examples_;
  Rows rows_, first_;            // of all examples; the slopes where the active ones are
  std::vector<int64_t> active_;  // examples not yet at the end
};

}  // namespace

OdeSolution dormand_prince(const SlopeOf& slope, const at::Tensor& y, int64_t sums, double from,
                           double to, const DormandPrinceOptions& options) {
  check(y.dim() >= 1, "dormand_prince: expected a batch [B, ...], got a single number");
  check(options.rtol > 0 && options.atol > 0 && options.sums_rtol > 0 && options.sums_atol > 0,
        "dormand_prince: tolerances must be above 0, got rtol ", options.rtol, ", atol ",
        options.atol, ", of sums ", options.sums_rtol, " and ", options.sums_atol);
  check(std::min({options.rtol, options.sums_rtol}) >= 1e-13,
        "dormand_prince: a relative tolerance below 1e-13 is below the rounding of doubles");
  check(options.max_evaluations >= kStages + 1, "dormand_prince: expected ", kStages + 1,
        " evaluations or more, the least of a step, got ", options.max_evaluations);
  return Integration(slope, y, sums, from, to, options).solve();
}

}  // namespace tweedie
