#include "tweedie/jobs/foreign_model.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include <torch/utils.h>

#include "tweedie/base/files.h"
#include "tweedie/base/python_json.h"
#include "tweedie/families/diffusers_scheduler.h"
#include "tweedie/tensor/finite.h"
#include "tweedie/tensor/torch_file.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxConfig = 256 << 10;  // objects keep their order, and are searched key by key
constexpr size_t kMaxIndex = 64 << 20;
constexpr int64_t kMaxClasses = 65536;

Json read_json_object(const fs::path& path) {
  const Json json = parse_python_json(read_file(path.string(), kMaxConfig));
  check(json.is_object(), path.string(), ": is no JSON object, or is damaged");
  return json;
}

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

/// Weights such as model.fp16.safetensors, where there is one kind of them: an index, safetensors
/// or PyTorch's.
std::string find_variant(const fs::path& folder, const std::vector<std::string>& stems) {
  std::map<std::string, std::vector<std::string>> found;  // by ending
  std::error_code ignored;
  fs::directory_iterator entry(folder, ignored);
  for (; !ignored && entry != fs::directory_iterator(); entry.increment(ignored)) {
    const fs::path path = entry->path();
    const std::string name = path.filename().string(), end = path.extension().string();
    for (const std::string& stem : stems)
      if (name.starts_with(stem + ".") && is_file(path) &&
          (end != ".json" || name.find(".index.") != std::string::npos))
        found[end].push_back(path.string());
  }
  for (const char* end : {".json", ".safetensors", ".bin"})
    if (found[end].size() == 1) return found[end][0];
  return "";
}

/// A folder's weights, by the names that the libraries give them.
std::string find_weights(const fs::path& folder) {
  static constexpr const char* kStems[] = {"diffusion_pytorch_model", "model", "pytorch_model"};
  static constexpr const char* kEnds[] = {
      ".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth"};
  for (const char* stem : kStems)
    for (const char* end : kEnds)
      if (is_file(folder / (std::string(stem) + end)))
        return (folder / (std::string(stem) + end)).string();
  if (const std::string variant = find_variant(folder, {std::begin(kStems), std::end(kStems)});
      !variant.empty())
    return variant;
  std::error_code ignored;
  check(fs::is_directory(folder, ignored), folder.string(),
        ": there is no such folder, which model_index.json names");
  throw Error(folder.string() +
              ": has a configuration but no weights; expected diffusion_pytorch_model.safetensors, "
              "model.safetensors, or the same ending in .bin or .pt");
}

/// The component of a pipeline that is the network: "unet" or "transformer".
std::string network_of(const Json& pipeline, const fs::path& path) {
  for (const char* name : {"unet", "transformer"})
    if (pipeline.contains(name) && pipeline[name].is_array()) return name;
  throw Error(path.string() + ": a pipeline without 'unet' or 'transformer'");
}

/// Numbers, or the names that an export of ours keeps beside the weights: then the last row of the
/// embedding is "no class".
std::vector<std::string> class_names(ForeignModel& source) {
  std::vector<std::string> out;
  check(source.family.classes >= 0 && source.family.classes <= kMaxClasses + 1,
        "config.json: a network of ", source.family.classes, " classes; expected 0 to ",
        kMaxClasses);
  if (source.weights.ends_with(".safetensors")) {
    const auto metadata = read_safetensors_header(source.weights).metadata;
    if (const auto found = metadata.find("tweedie.classes"); found != metadata.end()) {
      check(found->second.size() <= kMaxConfig, "tweedie.classes in the weights' metadata has ",
            found->second.size(), " bytes; at most ", kMaxConfig, " are read");
      const Json names = parse_json(found->second);
      check(has_type<std::vector<std::string>>(names) &&
                static_cast<int64_t>(names.size()) + 1 == source.family.classes,
            "tweedie.classes in the weights' metadata does not fit the ", source.family.classes,
            " classes of config.json");
      source.family.classes = static_cast<int64_t>(names.size());
      source.family.model["null_class"] = true;
      return names.get<std::vector<std::string>>();
    }
  }
  for (int64_t i = 0; i < source.family.classes; ++i) out.push_back(std::to_string(i));
  return out;
}

/// The configuration that follows; the scheduler knows more of the process than the network does.
Json config_of(const ForeignModel& source, const Json& settings) {
  const Family& family = source.family;
  Json config = {{"data", {{"spec", ""}, {"conditional", family.classes > 0}}},
                 {"model", family.model},
                 {"schedule", family.schedule},
                 {"sample", family.sample},
                 {"source", {{"network", source.network.dump()}}}};
  if (source.scheduler.is_object()) {
    const SchedulerReading scheduler = read_scheduler(source.scheduler);
    config["schedule"] = scheduler.schedule;
    config["sample"] = scheduler.sample;
    const bool both =
        family.model["parameterisation"] != "eps" && source.scheduler.contains("prediction_type");
    check(!both || scheduler.parameterisation == family.model["parameterisation"],
          "the network's configuration says that it predicts ",
          family.model["parameterisation"].get<std::string>(), ", the scheduler's ",
          scheduler.parameterisation);
    if (both || family.model["parameterisation"] == "eps")
      config["model"]["parameterisation"] = scheduler.parameterisation;
    config["model"]["parameterisation_options"].update(scheduler.parameterisation_options);
    if (config["model"]["variance"] != "learned") config["model"]["variance"] = scheduler.variance;
    config["source"]["scheduler"] = source.scheduler.dump();
    if (scheduler.unit_data) {  // 2 x - 1 of data in [0, 1] is ours
      check(
          family.model.value("center_input", false),
          "the scheduler's data are in [0, 1], which networks are supported for that centre their "
          "input (center_input_sample = true)");
      config["model"]["center_input"] = false;
    }
  }
  config.merge_patch(settings);
  return config;
}

}  // namespace

bool is_foreign_model(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    if (is_file(fs::path(path) / "model_index.json")) return true;
    if (!is_file(fs::path(path) / "config.json")) return false;
    const Json config =
        parse_json(read_file((fs::path(path) / "config.json").string(), kMaxConfig));
    return config.is_object() && config.contains("_class_name");
  }
  const std::string end = fs::path(path).extension().string();
  if (end == ".pt" || end == ".pth" || end == ".bin") return true;
  if (end == ".json") return path.ends_with(".index.json");
  if (end != ".safetensors" || !is_file(path)) return false;
  return !read_safetensors_header(path).metadata.contains("tweedie");
}

ForeignModel open_foreign_model(const std::string& path, const Json& settings) {
  ForeignModel out;
  fs::path folder = path;
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    folder = folder.parent_path();
    out.weights = path;
    check(is_file(folder / "config.json"), path,
          ": is a file of weights alone; put the network's config.json (with its \"_class_name\") "
          "beside it");
  } else if (is_file(folder / "model_index.json")) {
    const fs::path index = folder / "model_index.json";
    const Json pipeline = read_json_object(index);
    const fs::path scheduler = folder / "scheduler" / "scheduler_config.json";
    check(
        is_file(scheduler) || !pipeline.contains("scheduler"), scheduler.string(),
        ": there is no such file, but model_index.json has a scheduler: what the network predicts "
        "and of which process is not known without it; put it there, or name the network's own "
        "folder");
    if (is_file(scheduler)) out.scheduler = read_json_object(scheduler);
    folder /= network_of(pipeline, index);
  }
  if (out.weights.empty()) out.weights = find_weights(folder);
  out.network = read_json_object(folder / "config.json");
  std::vector<std::string> classes;
  try {
    out.family = read_family(out.network);
    classes = class_names(out);
    out.config = make_config(config_of(out, settings));
    if (out.scheduler.is_object())
      out.notes = read_scheduler(out.scheduler).notes;
    else if (out.family.name == "diffusers UNet2DModel")
      out.notes = {"no scheduler came with the network: it is taken to predict " +
                   out.config.model["parameterisation"].get<std::string>() + " on the schedule " +
                   out.config.schedule.dump() + "; import --set says otherwise"};
  } catch (const Error& fault) {
    throw Error(path + ": " + fault.what());
  }
  out.data = {out.family.shape, out.family.levels, classes, Json::array()};
  return out;
}

Model load_foreign_model(const ForeignModel& source, const Registry& registry, const Log& log) {
  for (const std::string& note : source.notes) log("note: " + note);
  Model model = assemble_model(source.config, source.data, registry);
  const torch::NoGradGuard no_grad;
  Tensors ours;
  for (const auto& parameter : model.network->named_parameters())
    ours[parameter.key()] = parameter.value();
  try {
    take_weights(source.family, read_weights(source.weights).tensors, ours);
  } catch (const Error& fault) {
    throw Error(source.weights + ": " + fault.what());
  }
  for (const auto& [name, tensor] : ours)
    check(all_finite(tensor), source.weights, ": the weights of '", name,
          "' have values that are infinite or not numbers; the file is damaged, or the training "
          "that made it failed");
  return model;
}

TensorFile read_weights(const std::string& path) {
  if (path.ends_with(".safetensors")) return read_safetensors(path);
  if (!path.ends_with(".json")) return read_torch_file(path);
  // A sorted object: of many keys, each is found at once.
  const auto flat = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    check(depth <= 8, path, ": is nested too deeply");
    return true;
  };
  const nlohmann::json index = nlohmann::json::parse(read_file(path, kMaxIndex), flat, false);
  check(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(), path,
        ": an index without a 'weight_map'");
  std::map<std::string, TensorFile> files;
  TensorFile out;
  for (const auto& [name, file] : index["weight_map"].items()) {
    check(file.is_string(), path, ": '", name.substr(0, 200), "' is in no file");
    const std::string base = file.get<std::string>();
    check(fs::path(base).filename() == base && !base.ends_with(".json"), path, ": '",
          base.substr(0, 200), "' is no file beside the index");
    if (!files.contains(base))
      files[base] = read_weights((fs::path(path).parent_path() / base).string());
    const auto found = files[base].tensors.find(name);
    check(found != files[base].tensors.end(), path, ": '", base, "' does not have '",
          name.substr(0, 200), "'");
    out.tensors[name] = found->second;
  }
  for (const auto& [base, file] : files)
    for (const auto& [name, tensor] : file.tensors)
      check(out.tensors.contains(name), path, ": does not list '", name.substr(0, 200), "' of ",
            base);
  return out;
}

}  // namespace tweedie
