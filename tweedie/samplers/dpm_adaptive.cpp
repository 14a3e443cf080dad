#include "tweedie/samplers/dpm_adaptive.h"

#include <cmath>

#include <torch/utils.h>

#include "tweedie/base/error.h"
#include "tweedie/model/divergence.h"
#include "tweedie/samplers/adaptive.h"
#include "tweedie/samplers/single_step.h"

namespace tweedie {
namespace {

/// Söderlind's controller, with the smooth limiter 1 + atan(factor - 1).
class StepSize {
 public:
  StepSize(const DpmAdaptiveOptions& options, double order)
      : h(options.first_step),
        weights_{(options.proportional + options.integral + options.derivative) / order,
                 -(options.proportional + 2 * options.derivative) / order,
                 options.derivative / order},
        safety_(options.safety) {}

  /// Whether the step that made this error is taken; sets h for the next trial.
  bool accept(double error) {
    const double inverse = 1 / (error + 1e-8);
    if (first_) last_[0] = last_[1] = last_[2] = inverse;
    first_ = false;
    last_[0] = inverse;
    double factor = 1;
    for (int k = 0; k < 3; ++k) factor *= std::pow(last_[k], weights_[k]);
    factor = 1 + std::atan(factor - 1);
    const bool taken = factor >= safety_;
    if (taken) {
      last_[2] = last_[1];
      last_[1] = last_[0];
    }
    h *= factor;
    return taken;
  }

  double h;

 private:
  bool first_ = true;
  double last_[3] = {0, 0, 0}, weights_[3], safety_;
};

/// Root mean square of each example's difference, in units of the tolerance.
std::vector<double> errors_of(const SingleStep& step, const Tensor& before,
                              const DpmAdaptiveOptions& options) {
  const Tensor allowed = at::maximum(at::full_like(before, options.atol),
                                     options.rtol * at::maximum(step.low.abs(), before.abs()));
  const Tensor share = (step.low - step.high) / allowed;
  const Tensor error = (row_dots(share, share) / static_cast<double>(share[0].numel())).sqrt();
  return {error.data_ptr<double>(), error.data_ptr<double>() + error.numel()};
}

/// The samples that are still on their way, and where they are.
struct Travellers {
  std::vector<int64_t> rows;
  std::vector<Level> at;
  std::vector<StepSize> control;
  std::vector<int64_t> evaluations;
};

}  // namespace

Sampler dpm_adaptive(DpmAdaptiveOptions options) {
  check(options.order == 2 || options.order == 3, "dpm_adaptive: expected order 2 or 3, got ",
        options.order);
  check(options.rtol > 0 && options.atol > 0 && options.first_step > 0,
        "dpm_adaptive: expected rtol, atol and first_step above 0, got ", options.rtol, ", ",
        options.atol, " and ", options.first_step);
  check(options.eta >= 0, "dpm_adaptive: expected eta >= 0, got ", options.eta);
  const Form form = form_named(options.form, "dpm_adaptive");
  return [=](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
             const Noise& noise, const Observer& observe) {
    const torch::NoGradGuard no_grad;
    const AdaptiveRange range = adaptive_range("dpm_adaptive", path);
    const Level& end = range.end;
    const int64_t batch = x.size(0);
    Tensor state = x.clone(), low = state.clone(), x0 = at::empty_like(state);
    Travellers on;
    for (int64_t i = 0; i < batch; ++i) {
      on.rows.push_back(i);
      on.at.push_back(range.begin);
      on.control.emplace_back(options, options.eta > 0 ? 1.5 : static_cast<double>(options.order));
      on.evaluations.push_back(0);
    }
    int64_t index = 0;
    while (!on.rows.empty()) {
      const Tensor rows = at::tensor(on.rows, at::kLong).to(state.device());
      std::vector<Level> to, down;
      std::vector<std::vector<Level>> inner(static_cast<size_t>(options.order) - 1);
      std::vector<double> added;
      for (size_t i = 0; i < on.rows.size(); ++i) {
        const double from = half_log_snr(on.at[i]), last = half_log_snr(end);
        const double wanted = from + on.control[i].h;
        to.push_back(wanted >= last ? end : path.between(2 * wanted));
        const AncestralSplit split =
            ancestral_split(on.at[i], to.back(), options.eta, end.sigma / end.alpha);
        down.push_back(split.down);
        added.push_back(split.std);
        const double step = half_log_snr(split.down) - from;
        for (size_t k = 0; k < inner.size(); ++k) {
          const double place = options.order == 2 ? 0.5 : static_cast<double>(k + 1) / 3;
          inner[k].push_back(path.between(2 * (from + place * step)));
        }
        spend("dpm_adaptive", on.evaluations[i], options.order, options.max_evaluations, on.at[i]);
      }
      const Condition some = condition.rows(rows);
      const Evaluate evaluate = [&](const Tensor& at, Levels levels) {
        return denoiser(at, levels, some).x0;
      };
      const Tensor before = state.index_select(0, rows), low_before = low.index_select(0, rows);
      const SingleStep done =
          take_single_step(evaluate, before, on.at, inner, down, form, Closure::half, true);
      const std::vector<double> errors = errors_of(done, low_before, options);
      // Every round draws for the whole batch, so that a sample's noise does not depend on the
      // others.
      const Tensor z = options.eta > 0 ? noise(state, on.at.front(), to.front()) : Tensor();
      Travellers next;
      const Level shown_from = on.at.front();
      for (size_t i = 0; i < on.rows.size(); ++i) {
        const int64_t row = on.rows[i], place = static_cast<int64_t>(i);
        if (!std::isfinite(errors[i])) refuse_state("dpm_adaptive", index, on.at[i]);
        x0[row].copy_(done.x0[place]);
        if (on.control[i].accept(errors[i])) {
          Tensor arrived = done.high[place];
          if (added[i] > 0) arrived = arrived + added[i] * z[row];
          state[row].copy_(arrived);
          low[row].copy_(done.low[place]);
          on.at[i] = to[i];
          if (half_log_snr(to[i]) >= half_log_snr(end) - 1e-12) continue;
        }
        next.rows.push_back(row);
        next.at.push_back(on.at[i]);
        next.control.push_back(on.control[i]);
        next.evaluations.push_back(on.evaluations[i]);
      }
      // What is shown is where the last of the samples is.
      if (observe)
        observe({index, shown_from, next.at.empty() ? end : next.at.front(), state.clone(),
                 x0.clone()});
      ++index;
      on = std::move(next);
    }
    return arrive("dpm_adaptive", denoiser, state, range, condition, index, observe);
  };
}

}  // namespace tweedie
