#include <algorithm>
#include <cmath>

#include "tweedie/base/spread.h"
#include "tweedie/jobs/evaluate_compat.h"
#include "tweedie/jobs/evaluation_data.h"
#include "tweedie/jobs/solver_curve.h"

namespace tweedie {
namespace {

constexpr int64_t kMomentExamples = 256;

/// Of each dimension, over some examples evenly spread over the data.
DataMoments moments_of(const Dataset& data) {
  const Tensor x = data.get(spread_places(kMomentExamples, data.size)).x.to(at::kCPU, at::kDouble);
  return {x.mean(0), x.var(0, false)};
}

/// How the flow's density becomes a statement about the data.
enum class Reading {
  density,     // continuous data: log p at t_min itself
  dequantise,  // quantised data: of the value with uniform noise as wide as its bin
  decode       // of the noisy value at t_min, with a decoder
};

Reading reading_of(const Dataset& data, const EvaluateRequest& request) {
  check(request.dequantisation == "uniform" || request.dequantisation == "none",
        "evaluate: --dequantisation: expected uniform or none, got '", request.dequantisation, "'");
  if (!request.decoder.empty()) return Reading::decode;
  if (data.levels == 0) return Reading::density;
  if (request.compat == "k-diffusion") return Reading::density;
  check(request.dequantisation == "uniform", "evaluate: the data has ", data.levels,
        " countable values, where a density without dequantisation means nothing (it can be made "
        "as large as one likes); pass --dequantisation uniform, or --decoder discretised");
  return Reading::dequantise;
}

/// The point whose density is asked for, and what is added to minus its log [B].
struct Point {
  Tensor x, nats;
};

Point dequantised(const EvaluationBatch& batch, const std::vector<int64_t>& keys,
                  const Dataset& data, const EvaluateRequest& request) {
  const Tensor uniform =
      keyed_uniform({request.seed, Stream::dequantise}, keys, 0, batch.x0.sizes().slice(1))
          .to(batch.x0.options());
  const int64_t dims = batch.x0[0].numel();
  const Tensor none = at::zeros({batch.x0.size(0)}, at::kDouble);
  if (request.compat == "score_sde")
    return {score_sde_scaled(batch.x0, uniform, data.levels), none + score_sde_offset(dims)};
  const double width = 2 / static_cast<double>(data.levels - 1);
  return {batch.x0 + (uniform - 0.5) * width, dequantised_nats(none, dims, data.levels)};
}

/// -log P(x_0) <= E [-log p(x_t) + log q(x_t | x_0) - log P(x_0 | x_t)] at t_min.
Point decoded(const EvaluationBatch& batch, const std::vector<int64_t>& keys, const Model& model,
              const EvaluateRequest& request, const Level& level, const Decoder& decoder) {
  const torch::NoGradGuard no_grad;
  const Tensor eps = noise_of(request, keys, Stream::evaluation)(batch.x0, level, clean);
  const Tensor x_t = diffuse(batch.x0, level, eps);
  const Tensor log_decoder =
      decoder(model.denoiser(x_t, level, batch.condition), x_t, level, batch.x0)
          .to(at::kCPU, at::kDouble);
  const double dims = static_cast<double>(eps[0].numel());
  return {x_t, normal_log_density(eps, 1) - dims * std::log(level.sigma) - log_decoder};
}

std::string kind_of(Reading reading) { return reading == Reading::density ? "estimate" : "bound"; }

std::string meaning_of(Reading reading) {
  if (reading == Reading::density)
    return "an estimate of -log p(x) at t_min, a density: lower is better";
  return reading == Reading::dequantise ? "an estimate of an upper bound on -log P(x): minus the "
                                          "mean log density at t_min of x "
                                          "with uniform noise as wide as its bin; lower is better"
                                        : "an estimate of an upper bound on -log P(x): the density "
                                          "of the noisy value at t_min "
                                          "and a decoder; lower is better";
}

/// What the library refuses too, with the option that allows it.
void check_exact(int64_t dims, const EvaluateRequest& request) {
  check(dims <= request.exact_limit, "evaluate: --method exact of ", dims,
        " dimensions takes as many backward passes an evaluation, --exact-limit allows ",
        request.exact_limit,
        "; pass --method ode, whose probes are right on average, or --exact-limit ", dims);
}

/// Mean over the draws [B] of an example's values, each [B].
Tensor mean_over_draws(const std::vector<Tensor>& values) { return at::stack(values).mean(0); }

/// Variance of that mean [B]; NaN for one draw.
Tensor variance_over_draws(const std::vector<Tensor>& values) {
  if (values.size() == 1) return at::full_like(values[0], std::nan(""));
  return at::stack(values).var(0) / static_cast<double>(values.size());
}

}  // namespace

Evaluation evaluate_ode(const Model& model, const Dataset& data, const EvaluateRequest& request) {
  const auto started = std::chrono::steady_clock::now();
  check_request(model, data, request);
  check(request.draws >= 1, "evaluate: ", request.draws, " draws; expected 1 or more");
  const Reading reading = reading_of(data, request);
  const Schedule schedule = schedule_as_peer(model.schedule, request.compat);
  const FlowRange range = flow_range(schedule);
  const Level first = range.level(range.data);
  OdeOptions options{.rtol = request.rtol,
                     .atol = request.atol,
                     .max_evaluations = request.max_evaluations,
                     .divergence = divergence_named(request.divergence),
                     .exact_limit = request.exact_limit,
                     .probes = request.probes,
                     .seed = request.seed,
                     .numerical_error = request.numerical_error,
                     .partial = true,
                     .moments = moments_of(data)};
  Decoder decoder;
  if (reading == Reading::decode) {
    const double ratio = first.sigma / first.alpha;
    decoder = decoder_with_variance(request.decoder, data.levels, ratio * ratio, false);
  }
  const bool exact = options.divergence == Divergence::exact;
  const int64_t draws = reading == Reading::density ? 1 : request.draws;

  Evaluation out;
  out.settings = common_settings(model, data, request, exact ? "exact" : "ode", kind_of(reading),
                                 meaning_of(reading));
  if (exact) check_exact(out.settings.at("dims"), request);
  out.settings["t_min"] = schedule.t_min;
  out.settings["sigma_at_t_min"] = first.sigma;
  if (!range.note.empty()) out.settings["flow"] = range.note;
  out.settings["divergence"] = request.divergence;
  out.settings["probes"] = exact ? 0 : request.probes;
  out.settings["rtol"] = request.rtol;
  out.settings["atol"] = request.atol;
  out.settings["max_evaluations"] = request.max_evaluations;
  out.settings["dequantisation"] = reading == Reading::dequantise ? "uniform" : "none";
  if (reading == Reading::decode) out.settings["decoder"] = request.decoder;
  out.settings["draws"] = draws;

  for_each_batch(model, data, request, request.batch, [&](const EvaluationBatch& batch) {
    out.table.add_rows(batch.indices);
    std::vector<Tensor> nats, probe_variance, numerical, mismatch, evaluations;
    std::vector<double> stopped(batch.indices.size(), std::nan(""));  // t, the nearest of the draws
    for (int64_t draw = 0; draw < draws; ++draw) {
      std::vector<int64_t> keys;
      for (const int64_t index : batch.indices) keys.push_back(key_of_copy(index, draw));
      Point point{batch.x0, at::zeros({batch.x0.size(0)}, at::kDouble)};
      if (reading == Reading::dequantise) point = dequantised(batch, keys, data, request);
      if (reading == Reading::decode) point = decoded(batch, keys, model, request, first, decoder);
      options.samples = keys;
      const LogProb log_prob =
          ode_log_prob(model.denoiser, schedule, point.x, batch.condition, options);
      if (request.solver_curve && draw == 0)
        add_solver_curve(out.table, model.denoiser, schedule, point.x, batch.condition, options,
                         first_ones(batch.indices, data.size, request.limit), log_prob);
      for (const auto& [example, reached] : log_prob.unfinished) {
        double& t = stopped[static_cast<size_t>(example)];
        t = std::fmin(t, reached.t);
      }
      nats.push_back(point.nats - log_prob.nats + class_nats(model));
      probe_variance.push_back(log_prob.probe_error.square());
      mismatch.push_back(log_prob.prior_mismatch);
      evaluations.push_back(log_prob.evaluations.to(at::kDouble));
      if (request.numerical_error) numerical.push_back(log_prob.numerical_error);
    }
    const Tensor of_probes = mean_over_draws(probe_variance) / static_cast<double>(draws),
                 of_draws = variance_over_draws(nats);
    out.table.add("nats", mean_over_draws(nats));
    if (draws > 1 && !exact && request.probes == 1) {  // each draw has a probe of its own
      out.table.add("probe_and_dequantisation_variance", of_draws);
    } else {
      out.table.add("probe_variance", of_probes);
      if (reading != Reading::density)  // what the draws scatter beyond their probes
        out.table.add("dequantisation_variance", (of_draws - of_probes).clamp_min(0));
    }
    out.table.add("prior_mismatch", mean_over_draws(mismatch));
    out.table.add("evaluations", at::stack(evaluations).sum(0));
    if (request.numerical_error) out.table.add("numerical_error", mean_over_draws(numerical));
    out.table.add("stopped_at_t", at::tensor(stopped, at::kDouble));
  });
  out.seconds = seconds_since(started);
  summarise(out);
  return out;
}

}  // namespace tweedie
