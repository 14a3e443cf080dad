#include <cstdio>
#include <memory>

#include "tweedie/cli/commands.h"
#include "tweedie/cli/common.h"
#include "tweedie/cli/numbers.h"
#include "tweedie/jobs/bench.h"

namespace tweedie {
namespace {

struct BenchOptions {
  BenchRequest request;
  std::string json;
  std::vector<std::string> settings;
};

/// What a whole sampling adds to the line.
std::string solver_words(const Json& record) {
  if (!record.contains("solver_overhead_share")) return "";
  char line[120];
  std::snprintf(line, sizeof line, "; %s: %.3f ms an evaluation outside the network, %.2f %%",
                record["sampler"].get<std::string>().c_str(),
                record["milliseconds_outside_network_per_evaluation"].get<double>(),
                100 * record["solver_overhead_share"].get<double>());
  return line;
}

int run_bench(BenchOptions& options, const Registry& registry) {
  for (const std::string& setting : options.settings)
    set_option(options.request.sampler_options, setting);
  if (!options.json.empty() && options.json != "-") require_writable(options.json);
  Progress progress;
  Json record = {{"command", "bench"}};
  record.update(
      bench(options.request, registry, [&](const std::string& line) { progress.say(line); }));
  write_json(options.json, record);
  char line[200];
  std::snprintf(
      line, sizeof line,
      "%.3f ms/image, %.2f ms/step (best %.2f, worst %.2f, %lld steps); %s, %s kernels, "
      "%d threads, %.0f MiB",
      record["milliseconds_per_image"].get<double>(), record["milliseconds_per_step"].get<double>(),
      record["milliseconds_per_step_best"].get<double>(),
      record["milliseconds_per_step_worst"].get<double>(), record["steps"].get<long long>(),
      record["precision"].get<std::string>().c_str(), record["kernels"].get<std::string>().c_str(),
      record["threads"].get<int>(), record["peak_bytes"].get<double>() / (1 << 20));
  say_result(options.json, line + solver_words(record));
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Cli& cli) {
  CLI::App* command =
      app.add_subcommand("bench", "How long a training or a sampling step takes on this machine");
  const auto options = std::make_shared<BenchOptions>();
  BenchRequest& request = options->request;
  command->add_option("KIND", request.kind, "train or sample")->required();
  command->add_option("--net", request.net, "one of\n" + bench_nets());
  command->add_option("--batch", request.batch, "examples in a step; default: the network's usual")
      ->check(positive());
  command->add_option("--sampler", request.sampler,
                      "whole samplings by this one: also says what it takes beside the network");
  command
      ->add_option("--set", options->settings,
                   "option of the sampler, as in eta=0.5; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("--steps", request.steps, "of a whole sampling; default: 20")
      ->check(positive());
  command->add_option("--device", request.device, "cpu, cuda or auto; default: cpu");
  command->add_option("--precision", request.precision, "auto, fp32 or bf16");
  command->add_option("--threads", request.threads, "default: what LibTorch takes")
      ->check(positive());
  command->add_option("--seconds", request.seconds, "to measure for")->check(positive());
  command->add_option("--json", options->json, "file for the result, - for standard output");
  command->callback([=, &cli] {
    cli.computes = true;
    cli.action = [options, &cli] { return run_bench(*options, cli.registry); };
  });
}

}  // namespace tweedie
