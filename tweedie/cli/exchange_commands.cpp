// tweedie import, tweedie export.
#include <memory>

#include "tweedie/cli/commands.h"
#include "tweedie/cli/common.h"
#include "tweedie/jobs/exchange.h"
#include "tweedie/jobs/onnx_export.h"
#include "tweedie/jobs/onnx_graph.h"

namespace tweedie {
namespace {

struct ExchangeOptions {
  std::string model, out, weights = "ema", json;
  std::vector<std::string> settings;
};

void say_report(const ExchangeOptions& options, const ExchangeReport& report) {
  write_json(options.json, {{"out", options.out},
                            {"family", report.family},
                            {"parameters", report.parameters},
                            {"largest_output", report.largest},
                            {"largest_difference", report.difference},
                            {"notes", report.notes}});
  char line[200];
  std::snprintf(
      line, sizeof line,
      "%lld values; on test inputs the two networks differ by %.2g at most (outputs up to "
      "%.3g)",
      static_cast<long long>(report.parameters), report.difference, report.largest);
  for (const std::string& note : report.notes) say_result(options.json, "note: " + note);
  say_result(options.json, options.out + ": " + report.family + ", " + line);
}

int run_import(const ExchangeOptions& options, const Registry& registry) {
  check(options.out.ends_with(".safetensors"), "--out ", options.out,
        ": the name must end in .safetensors");
  require_writable(options.out);
  Json settings = Json::object();
  for (const std::string& setting : options.settings) set_option(settings, setting);
  say_report(options, import_model(options.model, options.out, settings, registry));
  return 0;
}

void say_onnx(const ExchangeOptions& options, const OnnxReport& report) {
  write_json(options.json, {{"out", options.out},
                            {"family", "ONNX"},
                            {"opset", kOnnxOpset},
                            {"parameters", report.parameters},
                            {"inputs", report.inputs}});
  std::string inputs;
  for (const std::string& input : report.inputs) inputs += (inputs.empty() ? "" : ", ") + input;
  say_result(options.json, options.out + ": ONNX, opset " + std::to_string(kOnnxOpset) + ", " +
                               std::to_string(report.parameters) + " values; out_sample of " +
                               inputs);
}

int run_export(const ExchangeOptions& options, const Registry& registry) {
  const Model model = load_model(options.model, registry, options.weights);
  if (options.out.ends_with(".onnx")) {
    require_writable(options.out);
    say_onnx(options, export_onnx(model, options.out));
    return 0;
  }
  say_report(options, export_model(model, options.out, registry));
  return 0;
}

}  // namespace

void add_import(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand(
      "import", "Turn a model of diffusers, guided-diffusion, EDM or DiT into a file of ours");
  const auto options = std::make_shared<ExchangeOptions>();
  command
      ->add_option("MODEL", options->model,
                   "pipeline or model folder, or a file of weights beside its config.json")
      ->required();
  command->add_option("--out", options->out, ".safetensors")->required();
  command
      ->add_option(
          "--set", options->settings,
          "what its configuration does not say, as in schedule.name=cosine; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("--json", options->json, "file for a report, - for standard output");
  command->callback(
      [=, &cli] { cli.action = [options, &cli] { return run_import(*options, cli.registry); }; });
}

void add_export(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand(
      "export", "Write a model as a folder that diffusers loads, or for ONNX Runtime");
  const auto options = std::make_shared<ExchangeOptions>();
  command->add_option("MODEL", options->model, "run folder, checkpoint or model file")->required();
  command->add_option("--out", options->out, "new folder, or a file .onnx")->required();
  command->add_option("--weights", options->weights, "ema, raw, or an average such as ema.0.999");
  command->add_option("--json", options->json, "file for a report, - for standard output");
  command->callback(
      [=, &cli] { cli.action = [options, &cli] { return run_export(*options, cli.registry); }; });
}

}  // namespace tweedie
