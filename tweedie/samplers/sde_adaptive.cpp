#include "tweedie/samplers/sde_adaptive.h"

#include <cmath>

#include <torch/utils.h>

#include "tweedie/base/error.h"
#include "tweedie/samplers/brownian.h"
#include "tweedie/samplers/exponential.h"

namespace tweedie {
namespace {

/// With x_0 constant u = x e^lambda / sigma is a Brownian motion in the clock SNR = e^(2 lambda).
double clock_of(double lambda) { return std::exp(2 * lambda); }

/// A point of the future: how far its half log-SNR is, and the Brownian path there.
struct Milestone {
  double lambda;
  BrownianPoint path;
};

/// One sample on its way.
struct Traveller {
  int64_t row;
  Level at;
  BrownianPoint path;
  std::vector<Milestone> ahead;  // the nearest last
  Tensor x, x0;                  // [1, ...]; x0 is the prediction at x, empty where x is new
  int64_t evaluations = 0;
};

Condition row_of(const Condition& condition, const Tensor& rows) {
  Condition out = condition;
  if (out.label.defined()) out.label = out.label.index_select(0, rows);
  if (out.context.defined()) out.context = out.context.index_select(0, rows);
  return out;
}

/// A half log-SNR where a step may end: on the schedule's curve, or the end itself.
Level level_of(const Path& path, const Level& end, double lambda) {
  return lambda >= half_log_snr(end) ? end : path.between(2 * lambda);
}

/// The step from t to s: the result of the prediction at t alone, and of both.
struct Trial {
  Tensor first, second;
};

Tensor step_mean(const StepWeights& weights, const Tensor& x, const std::vector<Tensor>& x0) {
  Tensor out = weights.keep * x;
  for (size_t j = 0; j < x0.size(); ++j) out.add_(x0[j], weights.prediction[j]);
  return out;
}

/// sigma_s e^(-lambda_s) (W(SNR_s) - W(SNR_t)): the noise that exponential_step weighs.
Tensor step_noise(const Traveller& one, const Level& s, const Tensor& like) {
  const double scale = s.sigma * std::exp(-half_log_snr(s));
  return (scale * (one.ahead.back().path.value - one.path.value)).to(like.scalar_type());
}

double error_in(const Trial& trial, const Tensor& x, const SdeAdaptiveOptions& options) {
  const Tensor allowed = options.atol + options.rtol * at::maximum(trial.second.abs(), x.abs());
  return ((trial.second - trial.first) / allowed).square().mean().sqrt().item<double>();
}

}  // namespace

Sampler sde_adaptive(SdeAdaptiveOptions options) {
  check(options.rtol >= 0 && options.atol > 0,
        "sde_adaptive: expected rtol >= 0 and atol > 0, got ", options.rtol, " and ", options.atol);
  check(options.first_steps >= 1, "sde_adaptive: expected first_steps >= 1, got ",
        options.first_steps);
  return [=](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
             const Noise& noise, const Observer& observe) {
    const torch::NoGradGuard no_grad;
    check(bool(path.between), "sde_adaptive: this path does not know its schedule");
    const bool to_data = path.back().sigma == 0;
    check(path.size() >= (to_data ? 3 : 2),
          "sde_adaptive: needs two noisy levels, the first and the last; pass 2 steps or more");
    const Level begin = path.front(), end = to_data ? path[path.size() - 2] : path.back();
    check(begin.alpha > 0, "sde_adaptive: cannot start at t = ", begin.t,
          ", which has no signal (alpha = 0); lower t_max");
    const double first = half_log_snr(begin), last = half_log_snr(end);
    const int64_t batch = x.size(0);

    // The path at the ends of the first steps, the nearest last.
    std::vector<Traveller> on;
    for (int64_t i = 0; i < batch; ++i)
      on.push_back({i,
                    begin,
                    {clock_of(first), at::zeros_like(x[i], at::kDouble)},
                    {},
                    x.narrow(0, i, 1),
                    {},
                    0});
    BrownianPoint place{clock_of(first), at::zeros_like(x, at::kDouble)};
    for (int64_t k = 1; k <= options.first_steps; ++k) {
      const double lambda = first + (last - first) * static_cast<double>(k) /
                                        static_cast<double>(options.first_steps);
      place = brownian_after(place, clock_of(lambda) - place.clock, noise(x, begin, end));
      for (Traveller& one : on)
        one.ahead.insert(one.ahead.begin(), {k == options.first_steps ? last : lambda,
                                             {place.clock, place.value[one.row]}});
    }

    Tensor state = x.clone(), shown_x0 = at::empty_like(x);
    for (int64_t index = 0; !on.empty(); ++index) {
      // Predictions where a sample has come to a new place, then at the ends of everyone's trial.
      std::vector<Tensor> arrived;
      std::vector<Level> there;
      std::vector<int64_t> rows, of;
      for (size_t i = 0; i < on.size(); ++i)
        if (!on[i].x0.defined()) {
          arrived.push_back(on[i].x);
          there.push_back(on[i].at);
          rows.push_back(on[i].row);
          of.push_back(static_cast<int64_t>(i));
        }
      if (!arrived.empty()) {
        const Tensor x0 = denoiser(at::cat(arrived), there,
                                   row_of(condition, at::tensor(rows, at::kLong).to(x.device())))
                              .x0;
        for (size_t k = 0; k < of.size(); ++k) {
          Traveller& one = on[static_cast<size_t>(of[k])];
          one.x0 = x0.narrow(0, static_cast<int64_t>(k), 1);
          ++one.evaluations;
          shown_x0[one.row].copy_(one.x0[0]);
        }
      }
      std::vector<Tensor> firsts;
      std::vector<Level> to;
      rows.clear();
      for (Traveller& one : on) {
        check(++one.evaluations <= options.max_evaluations,
              "sde_adaptive: a sample needs more than ", options.max_evaluations,
              " evaluations (it has come to t = ", one.at.t,
              "); raise rtol, atol or max_evaluations");
        to.push_back(level_of(path, end, one.ahead.back().lambda));
        const StepWeights weights = exponential_step(one.at, to.back(), Form::x0,
                                                     {half_log_snr(one.at)}, Closure::exact, 1);
        firsts.push_back(step_mean(weights, one.x, {one.x0}) + step_noise(one, to.back(), one.x));
        rows.push_back(one.row);
      }
      const Tensor at_ends = denoiser(at::cat(firsts), to,
                                      row_of(condition, at::tensor(rows, at::kLong).to(x.device())))
                                 .x0;
      // Every round draws for the whole batch, so that a sample's noise does not depend on the
      // others.
      const Tensor z = noise(x, on.front().at, to.front());
      const Level shown_from = on.front().at;
      std::vector<Traveller> next;
      for (size_t i = 0; i < on.size(); ++i) {
        Traveller& one = on[i];
        const double from = half_log_snr(one.at);
        const StepWeights weights = exponential_step(
            one.at, to[i], Form::x0, {from, half_log_snr(to[i])}, Closure::exact, 1);
        const Trial trial{
            firsts[i],
            step_mean(weights, one.x, {one.x0, at_ends.narrow(0, static_cast<int64_t>(i), 1)}) +
                step_noise(one, to[i], one.x)};
        const double error = error_in(trial, one.x, options);
        check(std::isfinite(error), "sde_adaptive: the state is not finite after step ", index + 1,
              " at t = ", one.at.t,
              "; the model's weights may have diverged: use an earlier checkpoint");
        if (error > 1) {
          const double middle = 0.5 * (from + one.ahead.back().lambda);
          one.ahead.push_back({middle, brownian_between(one.path, one.ahead.back().path,
                                                        clock_of(middle), z[one.row])});
          next.push_back(std::move(one));
          continue;
        }
        one.at = to[i];
        one.path = one.ahead.back().path;
        one.ahead.pop_back();
        one.x = trial.second;
        one.x0 = Tensor();
        state[one.row].copy_(one.x[0]);
        if (one.ahead.empty()) continue;
        next.push_back(std::move(one));
      }
      on = std::move(next);
      if (observe) observe({index, shown_from, on.empty() ? end : on.front().at, state, shown_x0});
    }
    if (!to_data) return state;
    const Tensor x0 = denoiser(state, end, condition).x0;
    check_finite(x0, "sde_adaptive", 0, end);
    if (observe) observe({0, end, path.back(), x0, x0});
    return x0;
  };
}

}  // namespace tweedie
