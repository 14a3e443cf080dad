#include <cmath>
#include <cstdlib>
#include <memory>

#include "tweedie/base/files.h"
#include "tweedie/cli/commands.h"
#include "tweedie/cli/common.h"
#include "tweedie/cli/numbers.h"
#include "tweedie/jobs/baselines.h"
#include "tweedie/jobs/device.h"
#include "tweedie/jobs/evaluate_compat.h"
#include "tweedie/jobs/evaluation_data.h"
#include "tweedie/jobs/evaluation_picture.h"
#include "tweedie/jobs/precision.h"
#include "tweedie/tensor/npy.h"

namespace tweedie {
namespace {

struct EvaluateOptions {
  std::string model, data, split = "test", method, json, weights = "ema", device = "auto";
  std::string precision = "fp32";
  std::string shard, per_example, plot;
  std::vector<std::string> merge;
  double tolerance = 0;
  EvaluateRequest request;
};

std::string method_of(EvaluateOptions& options) {
  std::string method = options.method;
  const std::vector<std::string> known = {"vlb", "ais", "ode", "exact"};
  check(method.empty() || std::find(known.begin(), known.end(), method) != known.end(),
        "--method: unknown method '", method, "'", suggestion(method, known));
  options.request = compat_request(options.request, method);
  if (method == "exact") options.request.divergence = "exact";
  return method.empty() ? "vlb" : method;
}

void check_split(const std::string& split) {
  check(split == "train" || split == "test", "--split: expected train or test, got '", split, "'");
}

/// Options that say nothing to some methods, and those to which they do.
struct Special {
  const char* option;
  std::vector<std::string> methods;
};

const std::vector<Special>& special_options() {
  static const std::vector<std::string> chain = {"vlb", "ais"}, flow = {"ode", "exact"};
  static const std::vector<Special> all = {{"--terms", {"vlb"}},
                                           {"--path-steps", chain},
                                           {"--variance", chain},
                                           {"--paths", chain},
                                           {"--rtol", flow},
                                           {"--atol", flow},
                                           {"--tolerance", flow},
                                           {"--max-evaluations", flow},
                                           {"--dequantisation", flow},
                                           {"--no-error-estimate", flow},
                                           {"--probes", {"ode"}},
                                           {"--probe-kind", {"ode"}},
                                           {"--exact-limit", {"exact"}}};
  return all;
}

/// An option that would be ignored is an error: its user expects something of it.
void refuse_unused(const CLI::App& command, const std::string& method) {
  for (const auto& [option, methods] : special_options())
    if (command.count(option) > 0 &&
        std::find(methods.begin(), methods.end(), method) == methods.end())
      fail(option, ": says nothing to --method ", method, "; it is for ", methods.front(),
           methods.size() > 1 ? " and " + methods.back() : "");
}

/// What a peer's conventions fix.
void refuse_fixed(const CLI::App& command, const std::string& peer) {
  if (peer.empty()) return;
  for (const char* option : {"--terms", "--paths", "--rtol", "--atol", "--tolerance", "--probes",
                             "--probe-kind", "--dequantisation", "--decoder"})
    check(command.count(option) == 0, option, ": --compat ", peer,
          " has its own; leave one of the two out");
}

/// A merge takes what its parts were made with.
void refuse_beside_merge(const CLI::App& command) {
  const std::vector<std::string> own = {"--merge", "--json", "--plot", "--per-example"};
  for (const CLI::Option* option : command.get_options())
    check(
        option->count() == 0 || std::find(own.begin(), own.end(), option->get_name()) != own.end(),
        option->get_name(), ": says nothing to --merge, whose parts are evaluated already");
}

/// "i/n".
void read_shard(const std::string& text, EvaluateRequest& request) {
  if (text.empty()) return;
  long long shard = 0, shards = 0;
  char rest = 0;
  check(std::sscanf(text.c_str(), "%lld/%lld%c", &shard, &shards, &rest) == 2 && shard >= 1 &&
            shards >= shard,
        "--shard: expected i/n with i from 1 to n, such as 1/4, got '", text, "'");
  request.shard = shard;
  request.shards = shards;
}

/// "uniform", "none" or a number of draws.
void read_dequantisation(const std::string& text, EvaluateRequest& request) {
  if (text == "uniform" || text == "none") {
    request.dequantisation = text;
    return;
  }
  char* end = nullptr;
  request.draws = std::strtoll(text.c_str(), &end, 10);
  check(*end == 0 && request.draws >= 1,
        "--dequantisation: expected a number of draws, uniform or none, got '", text, "'");
}

/// A comma, and the number if it is one.
std::string cell(const char* format, double value) {
  char text[40] = ",";
  if (std::isfinite(value)) std::snprintf(text, sizeof text, format, value);
  return text;
}

/// Minus log p of each example with its standard error: rows of NumPy or CSV.  What is not known is
/// NaN or empty.
void write_per_example(const std::string& path, const Evaluation& evaluation) {
  const ExampleTable& table = evaluation.table;
  const Tensor nats = table.column("nats"), error = error_of_examples(table);
  if (path.ends_with(".npy")) {
    const Tensor index = at::tensor(table.index, at::kDouble);
    return write_npy(path, at::stack({index, nats, error}, 1));
  }
  std::string text = "index,nats,nats_standard_error\n";
  for (int64_t i = 0; i < nats.size(0); ++i)
    text += std::to_string(table.index[static_cast<size_t>(i)]) +
            cell(",%.17g", nats[i].item<double>()) + cell(",%.6g", error[i].item<double>()) + "\n";
  write_file_atomically(path, text);
}

void write_plot(const std::string& path, const Evaluation& evaluation, Json record) {
  record.update(to_json(evaluation));
  const Json model = record.value("model", Json());
  evaluation_picture(evaluation, model.is_string() ? model.get<std::string>() : "of no name")
      .save(path, {{"tweedie", record.dump()}});
}

void report(const EvaluateOptions& options, const Evaluation& evaluation, Json record) {
  Json numbers = record;
  numbers.update(options.request.shards > 1 ? shard_json(evaluation) : to_json(evaluation));
  write_json(options.json, numbers);
  if (!options.per_example.empty()) write_per_example(options.per_example, evaluation);
  if (!options.plot.empty()) write_plot(options.plot, evaluation, std::move(record));
  for (const std::string& line : lines_of(evaluation)) say_result(options.json, line);
}

/// 0; of a partial result 1, with why on standard error.
int status_of(const Evaluation& evaluation) {
  const std::string warning = warning_of(evaluation);
  if (warning.empty()) return 0;
  std::fprintf(stderr, "tweedie: %s\n", warning.c_str());
  return 1;
}

int run_merge(const EvaluateOptions& options) {
  std::vector<Json> parts;
  for (const std::string& path : options.merge) {
    parts.push_back(parse_json(read_file(path)));
    check(parts.back().is_object(), path, ": is not a JSON object; expected what --json wrote");
  }
  Json record = Json::object();  // of the first part: what was evaluated
  for (const char* name : {"program", "command", "model", "step", "weights", "weights_crc32",
                           "schedule", "data", "split", "limit"}) {
    if (!parts[0].contains(name)) continue;
    record[name] = parts[0].at(name);
    for (size_t i = 1; i < parts.size(); ++i)
      check(parts[i].value(name, Json()) == record[name], options.merge[i], ": its '", name,
            "' is ", parts[i].value(name, Json()).dump(), ", that of ", options.merge[0], " is ",
            record[name].dump());
  }
  const Evaluation merged = merge_evaluations(parts, options.merge);
  report(options, merged, record);
  return status_of(merged);
}

Evaluation evaluate(const std::string& method, const Model& model, const Dataset& data,
                    const EvaluateRequest& request) {
  if (method == "vlb") return evaluate_vlb(model, data, request);
  if (method == "ais") return evaluate_ais(model, data, request);
  return evaluate_ode(model, data, request);
}

constexpr int64_t kVarianceExamples = 256;

/// The analytic variance, measured on training data along the path of the bound.
X0Variance measure_variance(const Model& model, const Registry& registry, const std::string& spec,
                            const EvaluateRequest& request) {
  return measured_x0_variance(model, open_dataset(registry, spec, "train", model.data.columns),
                              bound_path(model.schedule, path_steps_of(model, request)),
                              kVarianceExamples, request.seed);
}

int run_evaluate(const CLI::App& command, EvaluateOptions& options, const Registry& registry) {
  if (!options.json.empty() && options.json != "-") require_writable(options.json);
  if (!options.per_example.empty()) {
    check(options.per_example.ends_with(".npy") || options.per_example.ends_with(".csv"),
          "--per-example: expected a name ending in .npy or .csv, got ", options.per_example);
    require_writable(options.per_example);
  }
  require_plot(options.plot);
  if (!options.merge.empty()) {
    refuse_beside_merge(command);
    return run_merge(options);
  }
  check(!options.model.empty(), "evaluate: name the model: a run folder, checkpoint or model file");
  EvaluateRequest& request = options.request;
  if (options.tolerance > 0) request.rtol = request.atol = options.tolerance;
  const std::string method = method_of(options);
  refuse_fixed(command, request.compat);
  refuse_unused(command, method);
  check_split(options.split);
  read_shard(options.shard, request);
  request.solver_curve = !options.plot.empty();
  check(request.shards == 1 || !options.json.empty(),
        "--shard: the result of a shard is its JSON; name a file with --json");
  Progress progress;
  const Model model =
      open_model(options.model, registry, options.weights, options.device, progress);
  const std::string spec = data_spec_of(options.model, options.data);
  const Dataset data = open_dataset(registry, spec, options.split, model.data.columns);
  if (request.variance == "analytic")
    request.x0_variance = measure_variance(model, registry, spec, request);
  request.log = counted_progress(progress, "evaluate");
  const torch::Device device = device_of(*model.network);
  const PrecisionGuard precision(resolve_precision(options.precision, device), device);
  const Evaluation result = evaluate(method, model, data, request);
  progress.finish();
  Json record = record_of("evaluate", options.model, model);
  record["data"] = spec;
  record["split"] = options.split;
  record["limit"] = request.limit;
  report(options, result, record);
  return status_of(result);
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

namespace {

/// Of the methods ode and exact.
void add_flow_options(CLI::App& command, EvaluateOptions& options) {
  EvaluateRequest& request = options.request;
  command.add_option("--rtol", request.rtol, "ode: relative tolerance of a step")
      ->check(positive());
  command.add_option("--atol", request.atol, "ode: absolute tolerance of a step")
      ->check(positive());
  command.add_option("--tolerance", options.tolerance, "ode: both tolerances")->check(positive());
  command
      .add_option("--max-evaluations", request.max_evaluations,
                  "ode: of the network, for each example and solve; the result leaves out the "
                  "examples that need more, and the exit status is 1")
      ->check(positive());
  command.add_option("--probes", request.probes, "ode: random probes of the divergence")
      ->check(positive());
  command.add_option("--probe-kind", request.divergence, "ode: rademacher or gaussian")
      ->check(CLI::IsMember({"rademacher", "gaussian"}));
  command
      .add_option("--exact-limit", request.exact_limit,
                  "exact: dimensions up to which it is not refused")
      ->check(positive());
  command.add_option_function<std::string>(
      "--dequantisation",
      [&request](const std::string& text) { read_dequantisation(text, request); },
      "ode: draws of uniform noise for each example with countable values, or none");
  command.add_flag("!--no-error-estimate", request.numerical_error,
                   "ode: do not solve again at ten times the tolerance");
}

}  // namespace

void add_evaluate(CLI::App& app, Cli& cli) {
  CLI::App* command =
      app.add_subcommand("evaluate", "How probable data is under a model: bits per dimension");
  const auto options = std::make_shared<EvaluateOptions>();
  EvaluateRequest& request = options->request;
  command->add_option("MODEL", options->model, "run folder, checkpoint or model file");
  command->add_option("--data", options->data, "default: what the model was trained on");
  command->add_option("--split", options->split, "test or train");
  command
      ->add_option("--limit", request.limit, "examples, evenly spread over the data; default: all")
      ->check(positive());
  command->add_option("--method", options->method,
                      "vlb: the variational bound (default); ais: annealed importance sampling; "
                      "ode: the probability flow with random probes; exact: with exact divergence");
  command
      ->add_option("--terms", request.terms,
                   "levels of the bound drawn for each example; 0: every one")
      ->check(non_negative());
  command
      ->add_option("--path-steps", request.path_steps,
                   "levels of the bound; default: the chain's, or 1000")
      ->check(positive());
  command->add_option("--decoder", request.decoder,
                      "discretised, softmax or gaussian; default: fits schedule and data");
  command->add_option("--variance", request.variance,
                      "small, large, learned or analytic; default: the model's own, for ais never "
                      "small");
  command
      ->add_option("--paths", request.paths,
                   "for each example; ais: paths (default 8); vlb: draws of the noise (default 1)")
      ->check(positive());
  add_flow_options(*command, *options);
  command->add_option("--compat", request.compat,
                      "conventions of a peer: score_sde, k-diffusion or improved-diffusion");
  command->add_option("--per-example", options->per_example,
                      "file for minus log p of each example in nats and its standard error: .npy "
                      "or .csv");
  command->add_option("--plot", options->plot,
                      "picture of what the value is made of, .svg or .png; by ode and exact the "
                      "first 16 examples are solved at coarser tolerances for it");
  command->add_option("--shard", options->shard,
                      "i/n: only this part of the examples, to be merged later");
  command->add_option("--merge", options->merge, "results of shards to put together")
      ->expected(1, 1 << 20);
  command->add_option("--seed", request.seed, "of the noise");
  command->add_option("--batch", request.batch,
                      "examples computed together; does not change the result");
  command->add_flag("--bits", request.bits,
                    "bits/dim for continuous data too (of a density: may be negative)");
  command->add_option("--weights", options->weights, "ema, raw, or an average such as ema.0.999");
  command->add_option("--device", options->device, "auto, cpu or cuda");
  command
      ->add_option("--precision", options->precision,
                   "of the network: fp32 (the default: a likelihood should be exact), bf16 or auto")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}));
  command->add_option("--json", options->json, "file for the result, - for standard output");
  command->callback([=, &cli] {
    cli.computes = true;
    cli.action = [command, options, &cli] {
      return run_evaluate(*command, *options, cli.registry);
    };
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
      ->check(positive());
  command->add_option("--json", options->json, "file for the result, - for standard output");
  command->callback([=, &cli] {
    cli.action = [options, &cli] { return run_baselines(*options, cli.registry); };
  });
}

}  // namespace tweedie
