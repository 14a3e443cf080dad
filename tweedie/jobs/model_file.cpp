#include "tweedie/jobs/model_file.h"

#include <zlib.h>

#include <cstdio>
#include <filesystem>

#include "tweedie/jobs/foreign_model.h"
#include "tweedie/nets/initialise.h"
#include "tweedie/tensor/set_weight.h"

namespace tweedie {
namespace {

constexpr double kMaxValues = 1 << 30;  // of one example

/// The options of a plug-in: its table without the keys that the job itself reads.
Json without(Json table, std::initializer_list<const char*> keys) {
  for (const char* key : keys) table.erase(key);
  return table;
}

/// What the network is told of a level: the 0-based step of a chain, or continuous time from 0 to
/// 1000.
NoiseLabel noise_label(const Schedule& schedule) {
  if (schedule.steps > 0)
    return [steps = static_cast<double>(schedule.steps)](const Level& level) {
      return std::round(level.t * steps) - 1;
    };
  return [first = schedule.t_min, range = schedule.t_max - schedule.t_min](const Level& level) {
    return 1000 * (level.t - first) / range;
  };
}

/// The log-SNR, which means the same whatever the schedule becomes.
NoiseLabel noise_label(const std::shared_ptr<MonotoneGamma>& gamma) {
  return [gamma](const Level& level) { return gamma->label(-log_snr(level)); };
}

std::shared_ptr<MonotoneGamma> gamma_of(const Schedule& start) {
  return std::make_shared<MonotoneGamma>(-log_snr(start.at(start.t_min)),
                                         -log_snr(start.at(start.t_max)));
}

Variance variance_named(const std::string& name) {
  return name == "learned" ? Variance::learned
         : name == "large" ? Variance::large
                           : Variance::small;
}

/// The prefix under which a checkpoint keeps the weights asked for.
std::string weights_prefix(const std::vector<double>& rates, const std::string& weights,
                           const std::string& path) {
  if (weights == "raw") return "weights";
  std::string known = "raw";
  std::string slowest;
  double largest = -1;
  for (const double rate : rates) {
    const std::string name = "ema." + Json(rate).dump();
    known += ", " + name;
    if (rate > largest) {
      largest = rate;
      slowest = name;
    }
    if (weights == name) return name;
  }
  if (weights == "ema") return slowest.empty() ? "weights" : slowest;
  throw Error(path + ": has no weights '" + weights + "'; it has " + known);
}

}  // namespace

std::string fingerprint(const Model& model) {
  uLong crc = crc32(0, nullptr, 0);
  for (const Tensor& parameter : model.network->parameters()) {
    const Tensor bytes = parameter.detach().to(torch::kCPU).contiguous();
    crc = crc32_z(crc, static_cast<const Bytef*>(bytes.data_ptr()), bytes.nbytes());
  }
  char text[16];
  std::snprintf(text, sizeof text, "%08lx", crc);
  return text;
}

Model assemble_model(const RunConfig& config, const DataShape& data, const Registry& registry) {
  double values = 1;
  for (const int64_t size : data.shape) values *= size >= 1 ? static_cast<double>(size) : 0;
  check(!data.shape.empty() && values >= 1 && values <= kMaxValues, "data: an example of shape ",
        Json(data.shape).dump(),
        " cannot be; expected sizes of 1 or more, at most 2^30 values in all");
  check(data.levels >= 0 && data.levels <= 65536, "data: expected levels from 0 to 65536, got ",
        data.levels);
  Model model;
  model.config = config;
  model.data = data;
  const Json& m = config.model;
  model.variance = variance_named(m["variance"]);
  model.schedule = find_entry(registry.schedules, config.schedule["name"], "schedule")
                       .make(without(config.schedule, {"name"}));
  if (config.schedule["name"] == "learned") model.gamma = gamma_of(model.schedule);
  model.parameterisation =
      find_entry(registry.parameterisations, m["parameterisation"], "parameterisation")
          .make(m.value("parameterisation_options", Json::object()))(
              model.gamma ? noise_label(model.gamma) : noise_label(model.schedule));
  model.parameterisation(model.schedule.at(model.schedule.t_max));  // throws where it cannot be
  Json options =
      without(m, {"network", "parameterisation", "parameterisation_options", "variance"});
  options["sample_shape"] = data.shape;
  options["classes"] = config.data.conditional ? static_cast<int64_t>(data.classes.size()) : 0;
  options["learned_variance"] = model.variance == Variance::learned;
  check(
      !config.data.conditional || !data.classes.empty(),
      "data.conditional: the data has no classes; use labelled data, or set data.conditional=false "
      "and sample.guidance=1");
  model.network = find_entry(registry.networks, m["network"], "network").make(options);
  if (model.gamma) model.network->register_module("schedule", model.gamma);
  model.denoiser = make_denoiser(model.network, model.parameterisation);
  model.weights = "raw";
  return model;
}

Model build_model(const RunConfig& config, const DataShape& data, const Registry& registry) {
  Model model = assemble_model(config, data, registry);
  initialise(*model.network, static_cast<uint64_t>(config.train.seed));
  return model;
}

Model load_model(const std::string& path, const Registry& registry, const std::string& weights,
                 torch::Device device, const Log& log) {
  if (is_foreign_model(path)) {
    check(weights == "ema" || weights == "raw", path, ": has no weights '", weights,
          "'; a model of another library has one set, raw");
    Model model = load_foreign_model(open_foreign_model(path), registry, log);
    model.network->to(device);
    model.network->eval();
    return model;
  }
  std::optional<Checkpoint> found;
  if (std::filesystem::is_directory(path)) {
    found = newest_checkpoint(path, log);
    check(found.has_value(), path,
          ": a folder without checkpoints; expected a run of `tweedie train`, or a model's folder "
          "with "
          "model_index.json or config.json (in a hub's cache: snapshots/REVISION)");
  } else {
    found = load_checkpoint(path);
  }
  Model model =
      assemble_model(make_config(found->config), from_json<DataShape>(found->data, path), registry);
  const std::string prefix = weights_prefix(model.config.train.ema, weights, path);
  model.weights = prefix == "weights" ? "raw" : prefix;
  model.step = found->step;
  torch::NoGradGuard no_grad;
  for (auto& parameter : model.network->named_parameters()) {
    const auto stored = found->tensors.find(prefix + "." + parameter.key());
    check(stored != found->tensors.end(), path, ": lacks the weights '", parameter.key(),
          "' of its own network; the file was made by another version or is not whole");
    check(stored->second.sizes() == parameter.value().sizes(), path, ": '", parameter.key(),
          "' has shape ", stored->second.sizes(), ", the network needs ",
          parameter.value().sizes());
    set_weight(parameter.value(), stored->second);
  }
  if (model.gamma) {
    const auto table = found->tensors.find(kScheduleTable);
    check(table != found->tensors.end(), path, ": lacks '", kScheduleTable,
          "', the schedule that was learned; the file is not whole");
    model.schedule = frozen_schedule(table->second);
  }
  model.network->to(device);
  model.network->eval();
  return model;
}

}  // namespace tweedie
