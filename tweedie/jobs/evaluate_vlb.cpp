#include "tweedie/jobs/evaluate_compat.h"
#include "tweedie/jobs/evaluation_data.h"

namespace tweedie {
namespace {

/// Sums of L_{t-1} and how often each was drawn.
struct LevelSums {
  std::vector<double> sum;
  std::vector<int64_t> count;

  void add(const VlbTerms& terms) {
    const Tensor values = terms.per_level.to(torch::kCPU, torch::kDouble).contiguous();
    const double* value = values.data_ptr<double>();
    for (size_t i = 0; i < terms.at.size(); ++i) {
      sum.at(static_cast<size_t>(terms.at[i])) += value[i];
      ++count.at(static_cast<size_t>(terms.at[i]));
    }
  }
};

/// KL(q(x_T | x_0) || prior) of each example [B].
Tensor mismatch_nats(const Schedule& schedule, const Tensor& x0) {
  const Tensor squares = sum_over_dims(x0.to(at::kCPU, at::kDouble).square());
  const double dims = static_cast<double>(x0[0].numel());
  const double of_zero = terminal_mismatch_nats(schedule, 0),
               of_one = terminal_mismatch_nats(schedule, 1);
  return dims * of_zero + squares * (of_one - of_zero);
}

/// Means over the draws of the noise [B], and the variance of the mean of their sum where there are
/// several.
struct Draws {
  std::vector<Tensor> prior = {}, diffusion = {}, decoder = {}, sum = {};

  void add(const VlbTerms& terms) {
    const auto keep = [](std::vector<Tensor>& draws, const Tensor& term) {
      draws.push_back(term.to(torch::kCPU, torch::kDouble));
    };
    keep(prior, terms.prior), keep(diffusion, terms.diffusion), keep(decoder, terms.decoder);
    sum.push_back(prior.back() + diffusion.back() + decoder.back());
  }

  void add_to(ExampleTable& table, double more_nats) const {
    const auto mean = [](const std::vector<Tensor>& draws) { return at::stack(draws).mean(0); };
    table.add("prior", mean(prior));
    table.add("diffusion", mean(diffusion));
    table.add("decoder", mean(decoder));
    table.add("nats", mean(sum) + more_nats);
    if (sum.size() > 1)
      table.add("path_variance", at::stack(sum).var(0) / static_cast<double>(sum.size()));
  }
};

}  // namespace

Evaluation evaluate_vlb(const Model& model, const Dataset& data, const EvaluateRequest& request) {
  const auto started = std::chrono::steady_clock::now();
  check_request(model, data, request);
  const int64_t steps = path_steps_of(model, request);
  check(request.terms <= steps, "evaluate: --terms ", request.terms, ", but the bound has only ",
        steps, " terms; pass fewer, or 0 for every one");
  const std::string variance_name =
      request.variance.empty() ? model.config.model.value("variance", "small") : request.variance;
  const Variance variance = variance_named(model, request, variance_name);
  const Path path = bound_path(model.schedule, steps);
  const Scored scored = scored_as_peer(model, request, path, variance);
  const int64_t paths = paths_of(request, 1);

  Evaluation out;
  out.settings = common_settings(model, data, request, "vlb", "bound",
                                 "an upper bound on -log p(x): lower is better");
  out.settings["t_min"] = path.back().t;
  out.settings["path_steps"] = steps;
  out.settings["terms_drawn_per_image"] = request.terms;
  out.settings["paths"] = paths;
  out.settings["decoder"] = scored.decoder_name;
  out.settings["variance"] = variance_name;
  std::vector<double> times, log_snrs;
  for (const Level& level : path) times.push_back(level.t), log_snrs.push_back(log_snr(level));
  out.settings["per_level_t"] = times;
  out.settings["per_level_log_snr"] = log_snrs;

  torch::NoGradGuard no_grad;
  LevelSums levels{std::vector<double>(path.size()), std::vector<int64_t>(path.size())};
  for_each_batch(model, data, request, request.batch, [&](const EvaluationBatch& batch) {
    Draws draws;
    for (int64_t copy = 0; copy < paths; ++copy) {
      std::vector<int64_t> keys;
      for (const int64_t index : batch.indices) keys.push_back(key_of_copy(index, copy));
      const DrawLevels draw = [&](int64_t stratum) {
        std::vector<double> uniform;
        for (const int64_t key : keys)
          uniform.push_back(keyed_uniform({request.seed, Stream::levels}, key, stratum));
        return uniform;
      };
      const VlbTerms terms = vlb(scored.denoiser, path, scored.decoder, batch.x0, batch.condition,
                                 noise_of(request, keys, Stream::evaluation),
                                 {.variance = variance,
                                  .x0_variance = request.x0_variance,
                                  .prior_std = model.schedule.prior_std,
                                  .terms = request.terms},
                                 draw);
      draws.add(terms);
      levels.add(terms);
      out.settings["evaluations"] = paths * terms.evaluations;
    }
    out.table.add_rows(batch.indices);
    draws.add_to(out.table, class_nats(model));
    out.table.add("terminal_mismatch", mismatch_nats(model.schedule, batch.x0));
  });
  out.sums = {{"per_level_sums", levels.sum}, {"per_level_counts", levels.count}};
  out.seconds = seconds_since(started);
  summarise(out);
  return out;
}

}  // namespace tweedie
