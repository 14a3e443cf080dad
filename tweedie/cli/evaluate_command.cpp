#include <cmath>
#include <memory>

#include "tweedie/cli/commands.h"
#include "tweedie/cli/common.h"
#include "tweedie/jobs/baselines.h"
#include "tweedie/jobs/evaluate.h"

namespace tweedie {
namespace {

struct EvaluateOptions {
  std::string model, data, split = "test", method = "vlb", json, weights = "ema", device = "auto";
  bool bits = false;
  EvaluateRequest request;
};

void check_method(const std::string& method) {
  const std::vector<std::string> known = {"vlb", "ais", "ode", "exact"};
  check(std::find(known.begin(), known.end(), method) != known.end(), "--method: unknown method '",
        method, "'", suggestion(method, known));
  check(method == "vlb", "--method ", method,
        ": not built into this version yet; use --method vlb");
}

void check_split(const std::string& split) {
  check(split == "train" || split == "test", "--split: expected train or test, got '", split, "'");
}

std::string with_error(double value, double error, const char* unit) {
  char text[96];
  if (std::isfinite(error))
    std::snprintf(text, sizeof text, "%.4f +- %.4f %s", value, error, unit);
  else
    std::snprintf(text, sizeof text, "%.4f %s (one example: no error bar)", value, unit);
  return text;
}

int run_evaluate(EvaluateOptions& options, const Registry& registry) {
  check_method(options.method);
  check_split(options.split);
  if (!options.json.empty() && options.json != "-") require_writable(options.json);
  Progress progress;
  const Model model =
      open_model(options.model, registry, options.weights, options.device, progress);
  const std::string spec = data_spec_of(options.model, options.data);
  const Dataset data = open_dataset(registry, spec, options.split);
  options.request.log = counted_progress(progress, "evaluate");
  Evaluation result = evaluate_vlb(model, data, options.request);
  progress.finish();
  const double dims = static_cast<double>(result.dims);
  if (options.bits && !std::isfinite(result.bits_per_dim)) {
    result.bits_per_dim = bits_per_dim(result.nats, result.dims);
    result.bits_per_dim_error = bits_per_dim(result.nats_error, result.dims);
  }
  Json record = record_of("evaluate", options.model, model);
  record["data"] = spec;
  record["split"] = options.split;
  record["limit"] = options.request.limit;
  record.update(to_json(result));
  write_json(options.json, record);
  const bool bits = std::isfinite(result.bits_per_dim);
  say_result(options.json,
             bits ? with_error(result.bits_per_dim, result.bits_per_dim_error, "bits/dim")
                  : with_error(result.nats / dims, result.nats_error / dims, "nats/dim"));
  const auto term = [&](double nats) {
    return bits ? bits_per_dim(nats, result.dims) : nats / dims;
  };
  char of_class[32] = "", line[200];
  if (result.class_nats > 0)
    std::snprintf(of_class, sizeof of_class, ", class %.4f", term(result.class_nats));
  std::snprintf(
      line, sizeof line,
      "  prior %.4f, diffusion %.4f, decoder %.4f%s; %lld examples, %lld evaluations each, %.1f s",
      term(result.prior_nats), term(result.diffusion_nats), term(result.decoder_nats), of_class,
      static_cast<long long>(result.examples), static_cast<long long>(result.evaluations),
      result.seconds);
  say_result(options.json, line);
  return 0;
}

struct BaselinesOptions {
  std::string model, data, split = "test", json;
  BaselinesRequest request;
};

int run_baselines(BaselinesOptions& options, const Registry& registry) {
  check_split(options.split);
  check(!options.model.empty() || !options.data.empty(),
        "baselines: name the images with --data SPEC or --model RUN");
  if (!options.json.empty() && options.json != "-") require_writable(options.json);
  const std::string spec = data_spec_of(options.model, options.data);
  Progress progress;
  options.request.log = [&](const std::string& line) { progress.update(line); };
  const BaselinesResult result =
      measure_baselines(open_dataset(registry, spec, "train"),
                        open_dataset(registry, spec, options.split), options.request);
  progress.finish();
  Json record = {{"command", "baselines"}, {"data", spec}, {"split", options.split}};
  record.update(to_json(result));
  write_json(options.json, record);
  for (const Baseline& baseline : result.baselines) {
    char line[96];
    std::snprintf(line, sizeof line, "%7.3f bits/dim  ", baseline.bits_per_dim);
    say_result(options.json, line + baseline.name);
  }
  return 0;
}

}  // namespace

void add_evaluate(CLI::App& app, Cli& cli) {
  CLI::App* command =
      app.add_subcommand("evaluate", "How probable data is under a model: bits per dimension");
  const auto options = std::make_shared<EvaluateOptions>();
  EvaluateRequest& request = options->request;
  command->add_option("MODEL", options->model, "run folder, checkpoint or model file")->required();
  command->add_option("--data", options->data, "default: what the model was trained on");
  command->add_option("--split", options->split, "test or train");
  command
      ->add_option("--limit", request.limit, "examples, evenly spread over the data; default: all")
      ->check(CLI::PositiveNumber);
  command->add_option("--method", options->method, "vlb: the variational bound");
  command
      ->add_option("--terms", request.terms,
                   "levels of the bound drawn for each example; 0: every one")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--path-steps", request.path_steps,
                   "levels of the bound; default: the chain's, or 1000")
      ->check(CLI::PositiveNumber);
  command->add_option("--decoder", request.decoder,
                      "discretised, softmax or gaussian; default: fits schedule and data");
  command->add_option("--variance", request.variance,
                      "small, large or learned; default: the model's own");
  command->add_option("--seed", request.seed, "of the noise");
  command->add_option("--batch", request.batch,
                      "examples computed together; does not change the result");
  command->add_flag("--bits", options->bits,
                    "bits/dim for continuous data too (of a density: may be negative)");
  command->add_option("--weights", options->weights, "ema, raw, or an average such as ema.0.999");
  command->add_option("--device", options->device, "auto, cpu or cuda");
  command->add_option("--json", options->json, "file for the result, - for standard output");
  command->callback([=, &cli] {
    cli.computes = true;
    cli.action = [options, &cli] { return run_evaluate(*options, cli.registry); };
  });
}

void add_baselines(CLI::App& app, Cli& cli) {
  CLI::App* command =
      app.add_subcommand("baselines", "Bits per dimension of compressors on the same images");
  const auto options = std::make_shared<BaselinesOptions>();
  command->add_option("--data", options->data, "the images");
  command->add_option("--model", options->model, "a run whose data to take instead");
  command->add_option("--split", options->split, "test or train");
  command
      ->add_option("--limit", options->request.limit,
                   "images, the same ones as evaluate --limit takes")
      ->check(CLI::PositiveNumber);
  command->add_option("--json", options->json, "file for the result, - for standard output");
  command->callback([=, &cli] {
    cli.action = [options, &cli] { return run_baselines(*options, cli.registry); };
  });
}

}  // namespace tweedie
