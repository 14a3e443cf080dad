#include <memory>

#include "tweedie/cli/commands.h"
#include "tweedie/cli/common.h"
#include "tweedie/jobs/describe.h"
#include "tweedie/jobs/diffuse.h"
#include "tweedie/jobs/page.h"
#include "tweedie/jobs/run_folder.h"

namespace tweedie {
namespace {

struct DiffuseOptions {
  std::string data, model, schedule, json;
  std::vector<std::string> settings;
  DiffuseRequest request;
};

Schedule schedule_of(const DiffuseOptions& options, const Registry& registry) {
  Json table = Json::object();
  if (options.schedule.empty() && !options.model.empty())
    table = read_config(options.model).value("schedule", table);
  std::string name = options.schedule.empty() ? table.value("name", "linear") : options.schedule;
  table.erase("name");
  for (const std::string& setting : options.settings) set_option(table, setting);
  return find_entry(registry.schedules, name, "schedule").make(table);
}

int run_diffuse(const DiffuseOptions& options, const Registry& registry) {
  check(!options.data.empty() || !options.model.empty(),
        "diffuse: name the data with --data SPEC or --model RUN");
  require_writable(options.request.out);
  if (!options.json.empty() && options.json != "-") require_writable(options.json);
  const Schedule schedule = schedule_of(options, registry);
  Progress progress;
  for (const std::string& warning : schedule.warnings) progress.say("warning: " + warning);
  const std::string spec = data_spec_of(options.model, options.data);
  const Json record =
      diffuse_pictures(open_dataset(registry, spec, "test"), schedule, options.request);
  write_json(options.json, record);
  char line[96];
  std::snprintf(line, sizeof line, "; L_T = %.3g nats/dim",
                record["terminal_mismatch_nats_per_dim"].get<double>());
  say_result(options.json, options.request.out + ": forward process of " + spec + " under " +
                               schedule.name + line);
  return 0;
}

int run_describe(const std::string& path, const std::string& json) {
  const Json description = describe(path);
  write_json(json, description);
  if (json.empty()) say_result(json, describe_in_words(description));
  return 0;
}

int run_report(const PageRequest& request, const Registry& registry) {
  require_writable(request.out);
  write_page(registry, request);
  say_result("", request.out);
  return 0;
}

}  // namespace

void add_diffuse(CLI::App& app, Cli& cli) {
  CLI::App* command =
      app.add_subcommand("diffuse", "Draw the forward process: how data becomes noise");
  const auto options = std::make_shared<DiffuseOptions>();
  DiffuseRequest& request = options->request;
  command->add_option("--data", options->data, "images or a toy (tweedie list datasets)");
  command->add_option("--model", options->model, "a run whose data and schedule to take");
  command->add_option("--out", request.out, "film strip .png or .svg, or animation .gif")
      ->required();
  command->add_option("--schedule", options->schedule,
                      "tweedie list schedules; default: the model's, or linear");
  command
      ->add_option("--set", options->settings,
                   "option of the schedule, as in steps=100; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("-n,--count", request.examples, "images");
  command->add_option("--moments", request.moments, "columns of the film strip");
  command->add_option("--frames", request.frames, "of the animation");
  command->add_option("--seed", request.seed, "of the noise");
  command->add_option("--json", options->json, "file for the numbers, - for standard output");
  command->callback(
      [=, &cli] { cli.action = [options, &cli] { return run_diffuse(*options, cli.registry); }; });
}

void add_describe(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand("describe", "What is in a run, a model or a file of ours");
  const auto path = std::make_shared<std::string>(), json = std::make_shared<std::string>();
  command->add_option("FILE", *path, "run folder, checkpoint, .safetensors, .png, .jpg or .npy")
      ->required();
  command->add_option("--json", *json, "file for everything as JSON, - for standard output");
  command->callback([=, &cli] { cli.action = [=] { return run_describe(*path, *json); }; });
}

void add_report(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand("report", "One page about a run");
  const auto request = std::make_shared<PageRequest>();
  command->add_option("RUN", request->run, "run folder")->required();
  command->add_option("--out", request->out, ".html")->required();
  command->add_option("--samples", request->samples, "grid of `tweedie sample`");
  command
      ->add_option("--forward", request->forward, "picture of `tweedie diffuse`; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command
      ->add_option("--reverse", request->reverse,
                   "picture of `tweedie sample --trajectory`; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("--evaluation", request->evaluation, "of `tweedie evaluate --json`");
  command->add_option("--baselines", request->baselines, "of `tweedie baselines --json`");
  command->callback(
      [=, &cli] { cli.action = [request, &cli] { return run_report(*request, cli.registry); }; });
}

}  // namespace tweedie
