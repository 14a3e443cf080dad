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

  Evaluation out;
  out.settings = common_settings(model, data, request, "vlb", "bound",
                                 "an upper bound on -log p(x): lower is better");
  out.settings["t_min"] = path.back().t;
  out.settings["path_steps"] = steps;
  out.settings["terms_drawn_per_image"] = request.terms;
  out.settings["decoder"] = scored.decoder_name;
  out.settings["variance"] = variance_name;
  std::vector<double> times, log_snrs;
  for (const Level& level : path) times.push_back(level.t), log_snrs.push_back(log_snr(level));
  out.settings["per_level_t"] = times;
  out.settings["per_level_log_snr"] = log_snrs;

  torch::NoGradGuard no_grad;
  LevelSums levels{std::vector<double>(path.size()), std::vector<int64_t>(path.size())};
  for_each_batch(model, data, request, request.batch, [&](const EvaluationBatch& batch) {
    const DrawLevels draw = [&](int64_t stratum) {
      std::vector<double> uniform;
      for (const int64_t index : batch.indices)
        uniform.push_back(keyed_uniform({request.seed, Stream::levels}, index, stratum));
      return uniform;
    };
    const VlbTerms terms = vlb(scored.denoiser, path, scored.decoder, batch.x0, batch.condition,
                               noise_of(request, batch.indices, Stream::evaluation),
                               {.variance = variance,
                                .x0_variance = request.x0_variance,
                                .prior_std = model.schedule.prior_std,
                                .terms = request.terms},
                               draw);
    ExampleTable& table = out.table;
    table.add_rows(batch.indices);
    table.add("prior", terms.prior);
    table.add("diffusion", terms.diffusion);
    table.add("decoder", terms.decoder);
    const auto sum = [](const Tensor& part) { return part.to(torch::kCPU, torch::kDouble); };
    table.add("nats",
              sum(terms.prior) + sum(terms.diffusion) + sum(terms.decoder) + class_nats(model));
    table.add("terminal_mismatch", mismatch_nats(model.schedule, batch.x0));
    levels.add(terms);
    out.settings["evaluations"] = terms.evaluations;
  });
  out.sums = {{"per_level_sums", levels.sum}, {"per_level_counts", levels.count}};
  out.seconds = seconds_since(started);
  summarise(out);
  return out;
}

}  // namespace tweedie
