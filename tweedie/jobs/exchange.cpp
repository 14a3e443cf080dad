#include "tweedie/jobs/exchange.h"

#include <cmath>
#include <filesystem>

#include <unistd.h>

#include "tweedie/base/files.h"
#include "tweedie/base/python_json.h"
#include "tweedie/families/diffusers_scheduler.h"
#include "tweedie/jobs/foreign_model.h"
#include "tweedie/jobs/fourier_unet.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDiffusersVersion = "0.30.0";  // whose configurations these are
constexpr int64_t kChainSteps = 1000;

Tensors weights_of(const Model& model) {
  Tensors out;
  for (const auto& parameter : model.network->named_parameters())
    out[parameter.key()] = parameter.value().detach();
  return out;
}

/// Both networks on the same inputs, at levels over the whole range.
void compare(const Model& a, const Model& b, ExchangeReport& report) {
  const torch::NoGradGuard no_grad;
  std::vector<int64_t> numbers;
  std::vector<double> labels;
  const int64_t steps = a.schedule.steps == 0 ? 4 : std::min<int64_t>(4, a.schedule.steps);
  for (const Level& level : sampling_path(a.schedule, steps)) {
    if (level.sigma == 0) continue;
    numbers.push_back(static_cast<int64_t>(numbers.size()));
    labels.push_back(a.parameterisation(level).c_noise);
  }
  const Tensor x = keyed_normal({1, Stream::data}, numbers, 0, a.data.shape);
  const Tensor label = at::tensor(labels, at::kDouble).to(at::kFloat);
  Condition condition;
  const auto classes = static_cast<int64_t>(a.data.classes.size());
  if (a.config.data.conditional || a.network->needs_label)
    condition.label =
        at::arange(static_cast<int64_t>(numbers.size())).remainder(classes > 0 ? classes : 1000);
  if (!a.network->needs_context.empty())
    condition.context = keyed_normal({2, Stream::data}, numbers, 0, a.network->needs_context);
  const auto run = [&](const Model& model) {
    model.network->eval();
    return model.network->forward(x, label, condition);
  };
  const Tensor first = run(a), second = run(b);
  report.largest = first.abs().max().item<double>();
  report.difference = (first - second).abs().max().item<double>();
  check(std::isfinite(report.difference),
        "the two networks cannot be compared: an output is infinite or no number");
}

int64_t count_of(const Tensors& tensors) {
  int64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += tensor.numel();
  return count;
}

/// Of the chain whose step k is told k, as the model's network is.
std::vector<double> alpha_bars(const Schedule& schedule) {
  std::vector<double> out;
  const bool chain = schedule.steps > 0;
  const int64_t steps = chain ? schedule.steps : kChainSteps + 1;
  for (int64_t k = 0; k < steps; ++k) {
    const double share = static_cast<double>(k) / kChainSteps;
    const Level level =
        schedule.at(chain ? static_cast<double>(k + 1) / static_cast<double>(steps)
                          : schedule.t_min + (schedule.t_max - schedule.t_min) * share);
    check(std::abs(level.alpha * level.alpha + level.sigma * level.sigma - 1) < 1e-9,
          "export: the schedule ", schedule.name,
          " does not keep the variance; diffusers' chains do. Train with another, such as linear, "
          "cosine or log-snr-linear");
    out.push_back(level.alpha * level.alpha);
  }
  return out;
}

/// Those of a chain as they are.
std::vector<double> chain_betas(const Schedule& schedule) {
  const std::vector<double> alpha_bar = alpha_bars(schedule);
  if (schedule.steps == 0) return betas_for_floats(alpha_bar);
  std::vector<double> betas;
  for (size_t k = 0; k < alpha_bar.size(); ++k)
    betas.push_back(1 - alpha_bar[k] / (k == 0 ? 1 : alpha_bar[k - 1]));
  return betas;
}

void write_text(const fs::path& path, const std::string& text) {
  write_file_atomically(path.string(), text);
}

void write_json_file(const fs::path& path, const Json& json) {
  write_text(path, python_json(json) + "\n");
}

Json model_options(const Model& model) {
  Json options = model.config.model;
  for (const char* key : {"network", "parameterisation", "parameterisation_options", "variance"})
    options.erase(key);
  options["sample_shape"] = model.data.shape;
  options["classes"] =
      model.config.data.conditional ? static_cast<int64_t>(model.data.classes.size()) : 0;
  options["learned_variance"] = model.variance == Variance::learned;
  return options;
}

/// A pipeline's folder; the network's class may be one that the folder brings itself.
void write_folder(const fs::path& folder, const Json& network, const Json& scheduler,
                  const TensorFile& weights, ExchangeReport& report) {
  fs::create_directories(folder / "unet");
  fs::create_directories(folder / "scheduler");
  const std::string unet = network.at("_class_name"), solver = scheduler.at("_class_name");
  std::string library = "diffusers";
  if (unet == kFourierUnetClass) {
    library = kFourierUnetModule;
    write_text(folder / "unet" / (library + ".py"), fourier_unet_source());
    report.notes.push_back(
        "the network sees sines of its input (model.fourier_features): the folder brings a class "
        "of "
        "its own, which from_pretrained loads with trust_remote_code=True");
  }
  write_json_file(folder / "model_index.json",
                  {{"_class_name", solver == "DDIMScheduler" ? "DDIMPipeline" : "DDPMPipeline"},
                   {"_diffusers_version", kDiffusersVersion},
                   {"scheduler", {"diffusers", solver}},
                   {"unet", {library, unet}}});
  write_json_file(folder / "scheduler" / "scheduler_config.json", scheduler);
  write_json_file(folder / "unet" / "config.json", network);
  write_safetensors((folder / "unet" / "diffusion_pytorch_model.safetensors").string(), weights);
}

/// Where the classes of ours have one more than those of the data, for "none".
std::map<std::string, std::string> metadata_of(const Model& model, int64_t classes_there,
                                               ExchangeReport& report) {
  const auto classes = static_cast<int64_t>(model.data.classes.size());
  if (!model.config.data.conditional || classes_there != classes + 1) return {{"format", "pt"}};
  report.notes.push_back("class " + std::to_string(classes) + " means 'no class', for guidance");
  return {{"format", "pt"}, {"tweedie.classes", Json(model.data.classes).dump()}};
}

/// A model of ours as a pipeline.
void write_pipeline(const Model& model, const fs::path& folder, ExchangeReport& report) {
  check(model.config.model["network"] == "unet", "export: the network '",
        model.config.model["network"].get<std::string>(),
        "' has no counterpart in diffusers; unet has");
  check(model.variance != Variance::learned,
        "export: diffusers' DDIMScheduler takes no network that learns its variances");
  const Json meant = model.config.model.value("parameterisation_options", Json::object());
  check(
      meant.value("label_scale", 1.0) == 1,
      "export: diffusers tells a network its step; model.parameterisation_options.label_scale has "
      "no counterpart");
  check(!model.gamma, "export: a learned schedule has no counterpart in diffusers");
  const Json options = model_options(model);
  Json network = write_diffusers_unet(options, kDiffusersVersion);
  const auto powers = options.value("fourier_features", std::vector<int64_t>{});
  if (!powers.empty()) {
    network["_class_name"] = kFourierUnetClass;
    network["fourier_powers"] = powers;
  }
  const Json scheduler = write_scheduler(model.config.schedule, chain_betas(model.schedule),
                                         model.config.model["parameterisation"], kDiffusersVersion);
  report.family = "diffusers UNet2DModel";
  const int64_t classes = read_family(network).classes;
  write_folder(folder, network, scheduler, {weights_of(model), metadata_of(model, classes, report)},
               report);
}

/// An imported model as it came.
void write_back(const Model& model, const fs::path& folder, ExchangeReport& report) {
  const Json network = parse_json(model.config.source.network);
  const Family family = read_family(network);
  report.family = family.name;
  TensorFile weights{give_weights(family, weights_of(model)),
                     metadata_of(model, family.classes, report)};
  for (const auto& [name, constant] : family.constants)
    weights.tensors[name] = constant().to(at::kFloat);
  const Json scheduler = parse_json(model.config.source.scheduler);
  if (scheduler.is_object() && read_scheduler(scheduler).schedule != model.config.schedule)
    report.notes.push_back(
        "the schedule was changed when the model was imported; what is written "
        "is the scheduler that came with it");
  if (scheduler.is_object()) return write_folder(folder, network, scheduler, weights, report);
  const bool diffusers = network.value("_class_name", "") == "UNet2DModel";
  write_json_file(folder / "config.json", network);
  write_safetensors(
      (folder / (diffusers ? "diffusion_pytorch_model.safetensors" : "model.safetensors")).string(),
      weights);
}

}  // namespace

ExchangeReport import_model(const std::string& path, const std::string& out, const Json& settings,
                            const Registry& registry) {
  check(is_foreign_model(path), path,
        ": is a model of ours already, or no model: nothing to import");
  const ForeignModel source = open_foreign_model(path, settings);
  ExchangeReport report;
  report.family = source.family.name;
  const Model model = load_foreign_model(
      source, registry, [&](const std::string& note) { report.notes.push_back(note); });
  Checkpoint checkpoint;
  RunConfig config = model.config;
  config.train.ema.clear();  // the file holds one set of weights
  checkpoint.config = to_json(config);
  checkpoint.data = to_json(model.data);
  checkpoint.state = Json::object();
  const Tensors weights = weights_of(model);
  for (const auto& [name, tensor] : weights) checkpoint.tensors["weights." + name] = tensor;
  report.parameters = count_of(weights);
  write_checkpoint(out, checkpoint);
  try {
    compare(model, load_model(out, registry, "raw"), report);
  } catch (...) {
    std::error_code ignored;
    fs::remove(out, ignored);
    throw;
  }
  return report;
}

ExchangeReport export_model(const Model& model, const std::string& folder,
                            const Registry& registry) {
  std::error_code failure;
  check(!fs::exists(folder, failure), folder, ": exists already; name a new folder");
  const fs::path building = folder + "." + std::to_string(::getpid()) + ".partial";
  fs::create_directories(building, failure);
  check(!failure, building.string(), ": cannot be created: ", failure.message());
  ExchangeReport report;
  try {
    if (!model.config.source.network.empty())
      write_back(model, building, report);
    else
      write_pipeline(model, building, report);
    report.parameters = count_of(weights_of(model));
    compare(model, load_model(building.string(), registry, "raw"), report);
    fs::rename(building, folder);
  } catch (...) {
    fs::remove_all(building, failure);
    throw;
  }
  return report;
}

}  // namespace tweedie
