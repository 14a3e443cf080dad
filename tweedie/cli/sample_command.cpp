#include <algorithm>
#include <memory>

#include "tweedie/base/files.h"
#include "tweedie/cli/commands.h"
#include "tweedie/cli/common.h"
#include "tweedie/cli/numbers.h"
#include "tweedie/jobs/diffuse.h"
#include "tweedie/jobs/picture.h"
#include "tweedie/jobs/sample.h"
#include "tweedie/jobs/table_text.h"
#include "tweedie/tensor/npy.h"
#include "tweedie/tensor/safetensors.h"

namespace tweedie {
namespace {

constexpr int64_t kStripFrames = 9, kAnimationFrames = 40;

struct SampleOptions {
  std::string model, out, json, noise, condition, weights = "ema", device = "auto";
  std::vector<std::string> settings, trajectories;
  bool count_given = false;
  SampleRequest request;
};

bool is_picture(const std::string& out) { return out.ends_with(".png"); }

void check_names(const SampleOptions& options) {
  check(
      is_picture(options.out) || options.out.ends_with(".npy") ||
          options.out.ends_with(".safetensors") || options.out.ends_with(".csv"),
      "--out ", options.out,
      ": the name must end in .png (a grid), .npy or .safetensors (raw values), or .csv (a table)");
  require_writable(options.out);
  for (const std::string& name : options.trajectories) {
    check(name.ends_with(".gif") || name.ends_with(".png"), "--trajectory ", name,
          ": the name must end in .gif (an animation) or .png (a film strip)");
    require_writable(name);
  }
  if (!options.json.empty() && options.json != "-") require_writable(options.json);
}

/// Everything that repeats the samples.
Json sample_record(const SampleOptions& options, const Model& model, const SampleResult& result) {
  const SampleRequest& request = options.request;
  Json record = record_of("sample", options.model, model);
  record["count"] = request.count;
  record["first"] = request.first;
  record["sampler"] = result.sampler;
  record["sampler_options"] = request.sampler_options;
  record["path"] = result.path;
  record["steps"] = result.steps;
  record["seed"] = request.seed;
  if (!options.noise.empty()) record["noise"] = options.noise;
  if (!options.condition.empty()) record["condition"] = options.condition;
  record["class"] = request.class_id >= 0 ? Json(request.class_id) : Json();
  record["guidance"] = result.guidance;
  record["evaluations"] = result.evaluations;
  return record;
}

void write_samples(const std::string& out, const Model& model, const SampleResult& result,
                   const Json& record) {
  if (is_picture(out))
    write_png(out, samples_picture(result.x, model.data), {{"tweedie", record.dump()}});
  else if (out.ends_with(".npy"))
    write_npy(out, result.x);
  else if (out.ends_with(".csv"))
    write_file_atomically(out, table_text(result.x, model.data.columns));
  else
    write_safetensors(
        out, {.tensors = {{"samples", result.x}}, .metadata = {{"tweedie", record.dump()}}});
}

/// One film strip wants few moments, an animation many; both are taken from one trajectory.
SampleResult with_moments(const SampleResult& result, int64_t wanted) {
  SampleResult out = result;
  out.trajectory.clear();
  const int64_t have = static_cast<int64_t>(result.trajectory.size());
  const int64_t count = std::min(wanted, have);
  for (int64_t i = 0; i < count; ++i)
    out.trajectory.push_back(
        result.trajectory[static_cast<size_t>(count > 1 ? i * (have - 1) / (count - 1) : 0)]);
  return out;
}

/// An array [N, ...] of something for each sample: it says how many there are.
Tensor read_rows(const std::string& path, SampleOptions& options) {
  const Tensor rows = read_npy(path);
  check(rows.dim() >= 1, path, ": expected [N, ...], got one number");
  const int64_t count = rows.size(0);
  check(!options.count_given || options.request.count == count, path, ": has ", count,
        " rows, one for each sample, but ", options.request.count,
        " samples are asked for by --count or --condition; make them agree");
  options.request.count = count;
  options.count_given = true;
  return rows;
}

int run_sample(SampleOptions& options, const Registry& registry) {
  check_names(options);
  for (const std::string& setting : options.settings)
    set_option(options.request.sampler_options, setting);
  if (!options.condition.empty()) options.request.condition = read_rows(options.condition, options);
  if (!options.noise.empty())
    options.request.noise = read_rows(options.noise, options).to(torch::kFloat);
  Progress progress;
  const Model model =
      open_model(options.model, registry, options.weights, options.device, progress);
  const bool animated = std::any_of(options.trajectories.begin(), options.trajectories.end(),
                                    [](const std::string& name) { return name.ends_with(".gif"); });
  if (!options.trajectories.empty())
    options.request.frames = animated ? kAnimationFrames : kStripFrames;
  if (model.data.shape.size() == 1) options.request.frame_samples = 2000;
  options.request.log = counted_progress(progress, "sample");
  const SampleResult result = sample(model, registry, options.request);
  progress.finish();
  Json record = sample_record(options, model, result);
  write_samples(options.out, model, result, record);
  for (const std::string& name : options.trajectories)
    draw_reverse(model,
                 with_moments(result, name.ends_with(".gif") ? kAnimationFrames : kStripFrames),
                 name, {{"tweedie", record.dump()}});
  record["seconds"] = result.seconds;
  record["out"] = options.out;
  write_json(options.json, record);
  char line[160];
  std::snprintf(line, sizeof line, ": %lld samples, %s, %lld steps, %.1f s",
                static_cast<long long>(options.request.count), result.sampler.c_str(),
                static_cast<long long>(result.steps), result.seconds);
  say_result(options.json, options.out + line);
  return 0;
}

}  // namespace

void add_sample(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand("sample", "Draw samples from a trained model");
  const auto options = std::make_shared<SampleOptions>();
  SampleRequest& request = options->request;
  command->add_option("MODEL", options->model, "run folder, checkpoint or model file")->required();
  command
      ->add_option("--out", options->out,
                   "grid .png, raw values .npy or .safetensors, or table .csv")
      ->required();
  CLI::Option* count = command->add_option("-n,--count", request.count, "number of samples");
  command->add_option("--sampler", request.sampler,
                      "tweedie list samplers; default: the model's own");
  command
      ->add_option("--set", options->settings,
                   "option of the sampler, as in eta=0.5; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("--steps", request.steps, "default: the model's own")->check(positive());
  command->add_option(
      "--path", request.path,
      "levels: auto, trailing, leading, linspace, leading+1, linspace+1, time, karras or "
      "log-snr");
  command->add_option("--seed", request.seed, "same seed, same samples");
  command->add_option("--first", request.first, "number of the first sample");
  command->add_option("--noise", options->noise,
                      "standard normal .npy [N, ...] to start from, instead of the seed's");
  command->add_option("--condition", options->condition,
                      "what each sample is asked to be, .npy: labels (whole numbers) [N], or "
                      "embeddings [N, ...] for a network that is told one");
  command->add_option("--class", request.class_id, "class of every sample")->check(non_negative());
  command->add_option("--guidance", request.guidance,
                      "weight of the class; default: the model's own");
  command
      ->add_option("--trajectory", options->trajectories,
                   "the way from noise: .gif or .png; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("--batch", request.batch, "samples computed together; does not change them");
  command->add_option("--precision", request.precision, "of the network: auto, fp32 or bf16")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}));
  command->add_option("--weights", options->weights, "ema, raw, or an average such as ema.0.999");
  command->add_option("--device", options->device, "auto, cpu or cuda");
  command->add_option("--json", options->json,
                      "file for a record of what was done, - for standard output");
  command->callback([=, &cli] {
    options->count_given = count->count() > 0;
    cli.computes = true;
    cli.action = [options, &cli] { return run_sample(*options, cli.registry); };
  });
}

}  // namespace tweedie
