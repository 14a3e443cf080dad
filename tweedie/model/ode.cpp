#include "tweedie/model/ode.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

/// The log-determinant may be off by as much a dimension as the state.
DormandPrinceOptions solver_options(const OdeOptions& options, double times, const Tensor& x) {
  const double rtol = times * options.rtol, atol = times * options.atol;
  return {.rtol = rtol,
          .atol = atol,
          .sums_rtol = rtol,
          .sums_atol = static_cast<double>(x[0].numel()) * atol,
          .max_evaluations = options.max_evaluations};
}

std::vector<int64_t> keys_of(const OdeOptions& options, int64_t batch) {
  if (!options.samples.empty()) {
    check(static_cast<int64_t>(options.samples.size()) == batch, "ode: made for ",
          options.samples.size(), " examples, got ", batch);
    return options.samples;
  }
  std::vector<int64_t> keys(static_cast<size_t>(batch));
  std::iota(keys.begin(), keys.end(), 0);
  return keys;
}

void check_batch(const Tensor& x) {
  check(x.dim() >= 2 && x.size(0) >= 1,
        "probability flow: expected examples [B, ...], at least one, got shape ", x.sizes());
}

Trace trace_of(const OdeOptions& options, const Tensor& x) {
  if (!options.given_probes.empty()) return {options.given_probes};
  const int64_t dims = x[0].numel();
  if (options.divergence != Divergence::exact)
    return {keyed_probes(options.divergence, options.probes, options.seed,
                         keys_of(options, x.size(0)), x.sizes().slice(1))};
  check(dims <= options.exact_limit, "ode_log_prob: an exact divergence of ", dims,
        " dimensions takes as many backward passes an evaluation; at most ", options.exact_limit,
        " are allowed: use rademacher or gaussian probes, or raise the limit");
  return {};
}

Tensor signal_of(const Tensor& x, const Level& level) {
  return x.detach().to(at::kCPU, at::kDouble) / level.alpha;
}

/// log N(x; mean, var) of each example [B].
Tensor diagonal_log_density(const Tensor& x, const Tensor& mean, const Tensor& var) {
  return sum_over_dims(-0.5 *
                       ((x - mean).square() / var + var.log() + std::log(2 * std::numbers::pi)));
}

/// With NaN for the unfinished examples, which are on their way.
OdeSolution without_unfinished(OdeSolution solution) {
  for (const int64_t example : solution.unfinished) {
    solution.y[example].fill_(std::nan(""));
    solution.sums[example].fill_(std::nan(""));
  }
  return solution;
}

/// log p at the data end of the way between `noise` (x at t_max) and it; `divergence` is the
/// integral from data to noise [B, K].
LogProb log_prob_of(const Tensor& noise, const Tensor& divergence, const FlowRange& range,
                    double prior_std, const DataMoments& moments) {
  LogProb out;
  out.data = range.level(range.data);
  out.noise = range.level(range.noise);
  out.note = range.note;
  out.latent = noise;
  const double dims = static_cast<double>(noise[0].numel());
  out.prior_nats = normal_log_density(noise, prior_std);
  const Tensor log_dets = divergence + dims * std::log(out.noise.alpha / out.data.alpha);
  out.log_det = log_dets.mean(1);
  out.per_probe = out.prior_nats.unsqueeze(1) + log_dets;
  out.nats = out.prior_nats + out.log_det;
  out.probe_error = at::zeros_like(out.nats).masked_fill(out.nats.isnan(), std::nan(""));
  if (moments.mean.defined()) {
    const double alpha = out.noise.alpha, sigma = out.noise.sigma;
    const Tensor mean = alpha * moments.mean.to(at::kCPU, at::kDouble),
                 var = alpha * alpha * moments.var.to(at::kCPU, at::kDouble) + sigma * sigma;
    out.prior_mismatch =
        diagonal_log_density(noise, mean.expand_as(noise[0]), var.expand_as(noise[0])) -
        out.prior_nats;
  }
  return out;
}

/// Standard error over the probes of each example; NaN for one, which has none.
Tensor error_over_probes(const Tensor& per_probe) {
  const int64_t count = per_probe.size(1);
  if (count == 1) return at::full({per_probe.size(0)}, std::nan(""), at::kDouble);
  return per_probe.std(1) / std::sqrt(static_cast<double>(count));
}

enum class Way { to_noise, to_data };

/// Solves once, or twice for the numerical error; also gives the state at the end.
DecodedLogProb solve_log_prob(const Denoiser& denoiser, const Schedule& schedule, const Tensor& x,
                              const Condition& condition, const OdeOptions& options, Way way) {
  check_batch(x);
  const FlowRange range = flow_range(schedule);
  const Trace trace = trace_of(options, x);
  const SlopeOf slope = flow_slope(denoiser, range.between, condition, x, trace);
  const bool up = way == Way::to_noise;
  const double from = up ? range.data : range.noise, to = up ? range.noise : range.data;
  const auto once = [&](double times, bool partial) {
    const DormandPrinceOptions solver = solver_options(options, times, x);
    OdeSolution solution =
        dormand_prince(slope, signal_of(x, range.level(from)), trace.count(), from, to, solver);
    if (!partial)
      check_finished(solution, range.between, solver, up ? "ode_log_prob" : "ode_decode");
    solution = without_unfinished(std::move(solution));
    const Tensor end = range.level(to).alpha * solution.y;
    const Tensor noise = up ? end : x.detach().to(at::kCPU, at::kDouble);
    DecodedLogProb out{end, log_prob_of(noise, up ? solution.sums : -solution.sums, range,
                                        schedule.prior_std, options.moments)};
    out.log_prob.evaluations = at::tensor(solution.evaluations, at::kLong);
    out.log_prob.unfinished = unfinished_of(solution, range.between);
    return out;
  };
  DecodedLogProb out = once(1, options.partial);
  LogProb& log_prob = out.log_prob;
  if (!trace.probes.empty()) log_prob.probe_error = error_over_probes(log_prob.per_probe);
  if (options.numerical_error) {
    const LogProb rough = once(10, true).log_prob;
    log_prob.numerical_error = (rough.nats - log_prob.nats).abs();
    log_prob.evaluations = log_prob.evaluations + rough.evaluations;
    log_prob.second_solve = rough.evaluations;
  }
  return out;
}

Tensor transport(const Denoiser& denoiser, const Schedule& schedule, const Tensor& x,
                 const Condition& condition, const OdeOptions& options, Way way) {
  check_batch(x);
  const FlowRange range = flow_range(schedule);
  const bool up = way == Way::to_noise;
  const double from = up ? range.data : range.noise, to = up ? range.noise : range.data;
  const DormandPrinceOptions solver = solver_options(options, 1, x);
  const OdeSolution solution = dormand_prince(flow_slope(denoiser, range.between, condition, x),
                                              signal_of(x, range.level(from)), 0, from, to, solver);
  check_finished(solution, range.between, solver, up ? "ode_encode" : "ode_decode");
  return range.level(to).alpha * solution.y;
}

}  // namespace

Tensor normal_log_density(const Tensor& x, double std) {
  const double dims = static_cast<double>(x[0].numel());
  return row_dots(x, x) * (-0.5 / (std * std)) -
         dims * (0.5 * std::log(2 * std::numbers::pi) + std::log(std));
}

LogProb ode_log_prob(const Denoiser& denoiser, const Schedule& schedule, const Tensor& x,
                     const Condition& condition, const OdeOptions& options) {
  return solve_log_prob(denoiser, schedule, x, condition, options, Way::to_noise).log_prob;
}

DecodedLogProb ode_decode_log_prob(const Denoiser& denoiser, const Schedule& schedule,
                                   const Tensor& noise, const Condition& condition,
                                   const OdeOptions& options) {
  return solve_log_prob(denoiser, schedule, noise, condition, options, Way::to_data);
}

Tensor ode_encode(const Denoiser& denoiser, const Schedule& schedule, const Tensor& x,
                  const Condition& condition, const OdeOptions& options) {
  return transport(denoiser, schedule, x, condition, options, Way::to_noise);
}

Tensor ode_decode(const Denoiser& denoiser, const Schedule& schedule, const Tensor& noise,
                  const Condition& condition, const OdeOptions& options) {
  return transport(denoiser, schedule, noise, condition, options, Way::to_data);
}

}  // namespace tweedie
