#include <cstdio>
#include <memory>

#include "tweedie/cli/commands.h"
#include "tweedie/cli/common.h"
#include "tweedie/cli/numbers.h"
#include "tweedie/jobs/measure.h"

namespace tweedie {
namespace {

struct MetricsOptions {
  std::string json;
  MeasureRequest request;
};

/// What of a metric people ask first.
std::string metric_line(const std::string& name, const Json& found) {
  const auto number = [&](const char* key) { return found.at(key).get<double>(); };
  char text[160];
  if (name == "sliced-wasserstein")
    std::snprintf(text, sizeof text, "%.4g, by %lld random projections (their choice alone: %.2g)",
                  number("distance"), found.at("projections").get<long long>(),
                  number("distance_standard_error_over_projections"));
  else if (name == "mmd")
    std::snprintf(text, sizeof text, "MMD^2 %.3g, p = %.3g", number("squared"), number("p_value"));
  else if (name == "classifier")
    std::snprintf(text, sizeof text, "%.1f%% +- %.1f%% right (50%%: alike), p = %.3g",
                  100 * number("accuracy"), 100 * number("accuracy_standard_error"),
                  number("p_value"));
  else if (name == "frechet")
    std::snprintf(text, sizeof text, "%.4f of %lld features, %lld and %lld examples",
                  number("squared_distance"), found.at("features").get<long long>(),
                  found.at("samples").get<long long>(), found.at("reference").get<long long>());
  else
    std::snprintf(text, sizeof text,
                  "%.1f%% +- %.1f%% nearer to a training example than %.0f%% of held-out ones",
                  100 * number("copied"), 100 * number("copied_standard_error"),
                  100 * (1 - number("copied_by_chance")));
  return name + ": " + text;
}

int run_metrics(MetricsOptions& options, const Registry& registry) {
  if (!options.json.empty() && options.json != "-") require_writable(options.json);
  Progress progress;
  options.request.log = [&](const std::string& line) { progress.update(line); };
  const Json found = measure(options.request, registry);
  progress.finish();
  Json record = {{"program", "tweedie " TWEEDIE_VERSION}, {"command", "metrics"}};
  record.update(found);
  write_json(options.json, record);
  for (const std::string& name : metric_names())
    if (found.contains(name)) say_result(options.json, metric_line(name, found.at(name)));
  return 0;
}

}  // namespace

void add_metrics(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand("metrics", "How samples compare with data");
  const auto options = std::make_shared<MetricsOptions>();
  MeasureRequest& request = options->request;
  command->add_option("SAMPLES", request.samples, "samples, .npy or .safetensors");
  command->add_option("--data", request.data, "what they are compared with");
  command->add_option("--split", request.split, "test or train");
  command
      ->add_option("--metrics", request.metrics,
                   "sliced-wasserstein, mmd, classifier, frechet, memorisation; default: all that "
                   "can be computed")
      ->delimiter(',');
  command->add_option("--features", request.features, "features of samples, .npy [N, F]");
  command->add_option("--reference-features", request.reference_features,
                      "features of data, .npy [N, F]");
  command->add_option("--network", request.network,
                      "TorchScript file whose features of samples and data are compared");
  command
      ->add_option("--limit", request.limit,
                   "examples of each set where all pairs are looked at, evenly spread")
      ->check(positive());
  command->add_option("--projections", request.projections, "of the sliced Wasserstein distance")
      ->check(positive());
  command->add_option("--permutations", request.permutations, "of MMD's p-value")
      ->check(non_negative());
  command->add_option("--seed", request.seed, "of projections, permutations and orders");
  command->add_flag("--any-size", request.any_size,
                    "Frechet distances of fewer than 2048 or 10 F examples too");
  command->add_option("--json", options->json, "file for the result, - for standard output");
  command->callback([=, &cli] {
    cli.computes = true;
    cli.action = [options, &cli] { return run_metrics(*options, cli.registry); };
  });
}

}  // namespace tweedie
