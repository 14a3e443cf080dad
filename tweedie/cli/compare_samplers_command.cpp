#include <cstdio>
#include <filesystem>
#include <memory>

#include "tweedie/cli/commands.h"
#include "tweedie/cli/common.h"
#include "tweedie/cli/numbers.h"
#include "tweedie/jobs/comparison_report.h"

namespace tweedie {
namespace {

struct CompareSamplersOptions {
  std::string model, plot, json, weights = "ema", device = "auto";
  CompareSamplersRequest request;
};

void check_outputs(const CompareSamplersOptions& options) {
  require_plot(options.plot);
  if (!options.json.empty() && options.json != "-") require_writable(options.json);
}

/// Everything that repeats the comparison, and its numbers.
Json comparison_record(const CompareSamplersOptions& options, const Model& model,
                       const SamplerComparison& comparison) {
  const CompareSamplersRequest& request = options.request;
  Json record = record_of("compare-samplers", options.model, model);
  record["count"] = request.count;
  record["seed"] = request.seed;
  record["class"] = request.class_id >= 0 ? Json(request.class_id) : Json();
  record["evaluations"] = request.evaluations;
  record["reference_evaluations"] = request.reference_evaluations;
  record.update(comparison_json(comparison));
  return record;
}

int run_compare_samplers(CompareSamplersOptions& options, const Registry& registry) {
  check_outputs(options);
  Progress progress;
  const Model model =
      open_model(options.model, registry, options.weights, options.device, progress);
  options.request.log = counted_progress(progress, "evaluations");
  const SamplerComparison comparison = compare_samplers(model, registry, options.request);
  progress.finish();
  const Json record = comparison_record(options, model, comparison);
  if (!options.plot.empty())
    comparison_picture(comparison, options.model).save(options.plot, {{"tweedie", record.dump()}});
  write_json(options.json, record);
  say_result(options.json, comparison_table(comparison) + "\n" + recommendation_words(comparison));
  return 0;
}

}  // namespace

void add_compare_samplers(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand(
      "compare-samplers", "Which sampler needs the fewest evaluations on your own model");
  const auto options = std::make_shared<CompareSamplersOptions>();
  CompareSamplersRequest& request = options->request;
  command->add_option("MODEL", options->model, "run folder, checkpoint or model file")->required();
  command
      ->add_option(
          "--samplers", request.samplers,
          "names with commas between them, or all; default: usual deterministic ones. "
          "Stochastic ones have no exact answer: they are judged by the sliced Wasserstein "
          "distance of their samples from the reference's, rough for few samples (-n 1000)")
      ->delimiter(',');
  command
      ->add_option("--evaluations", request.evaluations,
                   "of the network for each sample; steps are chosen to fit")
      ->delimiter(',');
  command->add_option("-n,--count", request.count, "number of samples, the same for all");
  command->add_option("--seed", request.seed, "same seed, same samples");
  command->add_option("--reference-evaluations", request.reference_evaluations,
                      "of the reference: at least twice the most of the others");
  command->add_option("--path", request.path,
                      "levels: auto (each sampler's own), trailing, leading, linspace, leading+1, "
                      "linspace+1, time, karras or log-snr");
  command->add_option("--class", request.class_id, "class of every sample")->check(non_negative());
  command->add_option("--guidance", request.guidance,
                      "weight of the class; default: the model's own");
  command->add_option("--plot", options->plot, "chart of error against evaluations, .svg or .png");
  command->add_option("--batch", request.batch, "samples computed together");
  command->add_option("--weights", options->weights, "ema, raw, or an average such as ema.0.999");
  command->add_option("--device", options->device, "auto, cpu or cuda");
  command->add_option("--json", options->json, "file for all the numbers, - for standard output");
  command->callback([=, &cli] {
    cli.computes = true;
    cli.action = [options, &cli] { return run_compare_samplers(*options, cli.registry); };
  });
}

}  // namespace tweedie
