#include "tweedie/samplers/sde_adaptive.h"

#include <cmath>

#include <torch/utils.h>

#include "tweedie/base/error.h"
#include "tweedie/samplers/adaptive.h"
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

/// All samples of a batch on their way from noise to data.
class Journey {
 public:
  Journey(const SdeAdaptiveOptions& options, const Denoiser& denoiser, const Condition& condition,
          const Noise& noise, const Path& path, const Tensor& x)
      : options_(options),
        denoiser_(denoiser),
        condition_(condition),
        noise_(noise),
        path_(path),
        range_(adaptive_range("sde_adaptive", path)),
        start_(x),
        state_(x.clone()),
        x0_(at::empty_like(x)) {
    const double first = half_log_snr(range_.begin), last = half_log_snr(range_.end);
    const Tensor origin = at::zeros_like(x, at::kDouble);
    for (int64_t row = 0; row < x.size(0); ++row)
      on_.push_back(
          {row, range_.begin, {clock_of(first), origin[row]}, {}, x.narrow(0, row, 1), {}, 0});
    BrownianPoint place{clock_of(first), origin};
    for (int64_t k = 1; k <= options_.first_steps; ++k) {
      const double share = static_cast<double>(k) / static_cast<double>(options_.first_steps);
      const double lambda = k == options_.first_steps ? last : first + (last - first) * share;
      place = brownian_after(place, clock_of(lambda) - place.clock,
                             noise_(x, range_.begin, range_.end));
      for (Traveller& one : on_)
        one.ahead.insert(one.ahead.begin(), {lambda, {place.clock, place.value[one.row]}});
    }
  }

  bool arrived() const { return on_.empty(); }
  const Tensor& state() const { return state_; }
  const Tensor& x0() const { return x0_; }
  const AdaptiveRange& range() const { return range_; }
  /// Where the first of those still on their way is.
  const Level& place() const { return arrived() ? range_.end : on_.front().at; }

  /// A trial step of every sample on its way.
  void advance(int64_t index) {
    predict_here();
    const std::vector<Level> to = ends_of_steps();
    const std::vector<Tensor> first = first_order(to);
    std::vector<int64_t> rows;
    for (Traveller& one : on_) {
      spend_one(one);
      rows.push_back(one.row);
    }
    const Tensor x0_there = predict(first, to, rows);
    // Every round draws for the whole batch, so that a sample's noise does not depend on the
    // others.
    const Tensor z = noise_(start_, on_.front().at, to.front());
    std::vector<Traveller> still;
    for (size_t i = 0; i < on_.size(); ++i) {
      Traveller& one = on_[i];
      const Trial trial{first[i],
                        second_order(one, to[i], x0_there.narrow(0, static_cast<int64_t>(i), 1))};
      const double error = error_in(trial, one.x, options_);
      if (!std::isfinite(error)) refuse_state("sde_adaptive", index, one.at);
      if (error > 1)
        halve(one, z[one.row]);
      else
        move(one, to[i], trial.second);
      if (!one.ahead.empty()) still.push_back(std::move(one));
    }
    on_ = std::move(still);
  }

 private:
  Tensor predict(const std::vector<Tensor>& x, const std::vector<Level>& at,
                 const std::vector<int64_t>& rows) {
    return denoiser_(at::cat(x), at, condition_.rows(at::tensor(rows, at::kLong))).x0;
  }

  void spend_one(Traveller& one) {
    spend("sde_adaptive", one.evaluations, 1, options_.max_evaluations, one.at);
  }

  /// Where a sample has come to a new place.
  void predict_here() {
    std::vector<Tensor> x;
    std::vector<Level> at;
    std::vector<int64_t> rows;
    std::vector<Traveller*> fresh;
    for (Traveller& one : on_) {
      if (one.x0.defined()) continue;
      x.push_back(one.x);
      at.push_back(one.at);
      rows.push_back(one.row);
      fresh.push_back(&one);
      spend_one(one);
    }
    if (fresh.empty()) return;
    const Tensor x0 = predict(x, at, rows);
    for (size_t k = 0; k < fresh.size(); ++k) {
      fresh[k]->x0 = x0.narrow(0, static_cast<int64_t>(k), 1);
      x0_[rows[k]].copy_(x0[static_cast<int64_t>(k)]);
    }
  }

  std::vector<Level> ends_of_steps() const {
    std::vector<Level> to;
    for (const Traveller& one : on_)
      to.push_back(level_of(path_, range_.end, one.ahead.back().lambda));
    return to;
  }

  std::vector<Tensor> first_order(const std::vector<Level>& to) const {
    std::vector<Tensor> out;
    for (size_t i = 0; i < on_.size(); ++i) {
      const Traveller& one = on_[i];
      const StepWeights weights =
          exponential_step(one.at, to[i], Form::x0, {half_log_snr(one.at)}, Closure::exact, 1);
      out.push_back(step_mean(weights, one.x, {one.x0}) + step_noise(one, to[i], one.x));
    }
    return out;
  }

  static Tensor second_order(const Traveller& one, const Level& to, const Tensor& x0_there) {
    const StepWeights weights = exponential_step(
        one.at, to, Form::x0, {half_log_snr(one.at), half_log_snr(to)}, Closure::exact, 1);
    return step_mean(weights, one.x, {one.x0, x0_there}) + step_noise(one, to, one.x);
  }

  static void halve(Traveller& one, const Tensor& z) {
    const double middle = 0.5 * (half_log_snr(one.at) + one.ahead.back().lambda);
    one.ahead.push_back(
        {middle, brownian_between(one.path, one.ahead.back().path, clock_of(middle), z)});
  }

  void move(Traveller& one, const Level& to, const Tensor& x) {
    one.at = to;
    one.path = one.ahead.back().path;
    one.ahead.pop_back();
    one.x = x;
    one.x0 = Tensor();
    state_[one.row].copy_(x[0]);
  }

  const SdeAdaptiveOptions& options_;
  const Denoiser& denoiser_;
  const Condition& condition_;
  const Noise& noise_;
  const Path& path_;
  const AdaptiveRange range_;
  const Tensor start_;  // its shape is what noise is drawn for
  Tensor state_, x0_;   // [B, ...]
  std::vector<Traveller> on_;
};

}  // namespace

Sampler sde_adaptive(SdeAdaptiveOptions options) {
  check(options.rtol >= 0 && options.atol > 0,
        "sde_adaptive: expected rtol >= 0 and atol > 0, got ", options.rtol, " and ", options.atol);
  check(options.first_steps >= 1, "sde_adaptive: expected first_steps >= 1, got ",
        options.first_steps);
  return [=](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
             const Noise& noise, const Observer& observe) {
    const torch::NoGradGuard no_grad;
    Journey journey(options, denoiser, condition, noise, path, x);
    int64_t index = 0;
    for (; !journey.arrived(); ++index) {
      const Level from = journey.place();
      journey.advance(index);
      if (observe)
        observe({index, from, journey.place(), journey.state().clone(), journey.x0().clone()});
    }
    return arrive("sde_adaptive", denoiser, journey.state(), journey.range(), condition, index,
                  observe);
  };
}

}  // namespace tweedie
