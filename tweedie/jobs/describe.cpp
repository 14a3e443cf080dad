#include "tweedie/jobs/describe.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/families/recognise.h"
#include "tweedie/jobs/checkpoint.h"
#include "tweedie/jobs/foreign_model.h"
#include "tweedie/jobs/run_folder.h"
#include "tweedie/tensor/image.h"
#include "tweedie/tensor/npy.h"
#include "tweedie/tensor/safetensors.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

/// Texts that hold JSON are shown as what they hold.
Json parsed(const std::string& text) {
  Json value = parse_json(text);
  return value.is_object() || value.is_array() || value.is_number() ? value : Json(text);
}

int64_t numel(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

Json describe_safetensors(const std::string& path) {
  const TensorFileHeader header = read_safetensors_header(path);
  Json out = {{"kind", "safetensors"}, {"file", path}, {"bytes", fs::file_size(path)}};
  int64_t weights = 0, all = 0;
  for (const auto& [name, tensor] : header.tensors) {
    all += numel(tensor.shape);
    if (name.rfind("weights.", 0) == 0) weights += numel(tensor.shape);
  }
  if (weights > 0) {
    out["kind"] = "checkpoint";
    out["parameters"] = weights;
  }
  out["values"] = all;
  for (const auto& [key, text] : header.metadata)
    if (key.find("crc") == std::string::npos) out["metadata"][key] = parsed(text);
  for (const auto& [name, tensor] : header.tensors)
    out["tensors"][name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}};
  return out;
}

/// A model of another library: what it is, and what it becomes here.
Json describe_foreign(const std::string& path) {
  const ForeignModel source = open_foreign_model(path);
  Json out = {{"kind", source.family.name}, {"path", path}, {"weights", source.weights}};
  int64_t values = 0;
  for (const auto& [name, tensor] : read_weights(source.weights).tensors) values += tensor.numel();
  out["values"] = values;
  out["shape"] = source.data.shape;
  if (!source.data.classes.empty()) out["classes"] = source.data.classes.size();
  out["schedule"] = source.config.schedule;
  out["sample"] = to_json(source.config.sample);
  out["model"] = source.config.model;
  out["network"] = source.network;
  if (source.scheduler.is_object()) out["scheduler"] = source.scheduler;
  if (!source.notes.empty()) out["notes"] = source.notes;
  return out;
}

/// Weights without a configuration.
Json describe_weights(const std::string& path) {
  TensorSizes sizes;
  Json tensors = Json::object(), metadata = Json::object();
  int64_t values = 0;
  const auto add = [&](const std::string& name, const std::string& type,
                       const std::vector<int64_t>& shape) {
    sizes[name] = shape;
    values += numel(shape);
    tensors[name] = {{"dtype", type}, {"shape", shape}};
  };
  if (path.ends_with(".safetensors")) {
    const TensorFileHeader header = read_safetensors_header(path);
    for (const auto& [name, tensor] : header.tensors) add(name, tensor.dtype, tensor.shape);
    for (const auto& [key, text] : header.metadata) metadata[key] = parsed(text);
  } else {
    for (const auto& [name, tensor] : read_weights(path).tensors)
      add(name, toString(tensor.scalar_type()), tensor.sizes().vec());
  }
  Json out = {
      {"kind", "weights"}, {"file", path}, {"bytes", fs::file_size(path)}, {"values", values}};
  if (const std::optional<Recognised> found = recognise_weights(sizes)) {
    out["kind"] = "weights of " + found->family;
    out["config"] = found->config;
    out["next"] =
        "this is what names and sizes tell; put the network's config.json beside the file to use "
        "it";
  }
  if (!metadata.empty()) out["metadata"] = metadata;
  out["tensors"] = tensors;
  return out;
}

/// A file of weights, by the configuration beside it where that is of a known network.
Json describe_foreign_file(const std::string& path) {
  const fs::path folder = fs::absolute(path).parent_path();
  if (path.ends_with(".json")) return describe_foreign(path);
  if (!is_foreign_model(folder.string())) return describe_weights(path);
  try {
    return describe_foreign(path);
  } catch (const Error& fault) {
    Json out = describe_weights(path);
    out["note"] = std::string("not by the configuration beside it: ") + fault.what();
    return out;
  }
}

Json last_metrics(const std::string& run) {
  std::ifstream file(fs::path(run) / "metrics.jsonl");
  Json last = Json::object();
  for (std::string line; std::getline(file, line);) {
    const Json record = parse_json(line);
    if (record.is_object()) last.update(record);
  }
  return last;
}

Json describe_run(const std::string& path) {
  const std::vector<std::string> checkpoints = list_checkpoints(path);
  const bool configured = fs::exists(fs::path(path) / "config.json");
  check(configured || !checkpoints.empty(), path,
        ": a folder, but not a run of `tweedie train` (no config.json, no checkpoints)");
  Json out = {{"kind", "run"}, {"folder", path}};
  if (configured) out["config"] = read_config(path);
  const Json last = last_metrics(path);
  if (!last.empty()) out["last_metrics"] = last;
  out["checkpoints"] = Json::array();
  for (const std::string& checkpoint : checkpoints) out["checkpoints"].push_back(checkpoint);
  if (!checkpoints.empty()) {
    Json newest = describe_safetensors(checkpoints.front());
    out["parameters"] = newest.value("parameters", int64_t{0});
  }
  return out;
}

Json describe_image(const std::string& path) {
  const std::vector<int64_t> size = image_size(path);
  Json out = {{"kind", "image"},      {"file", path},        {"channels", size.at(0)},
              {"height", size.at(1)}, {"width", size.at(2)}, {"levels", size.at(3)}};
  std::ifstream file(path, std::ios::binary);
  if (file.get() == 0x89)
    for (const auto& [key, text] : read_png_texts(path)) out["texts"][key] = parsed(text);
  return out;
}

/// A value in a line; of long lists the beginning and how many there are.
std::string in_a_line(const Json& value) {
  constexpr size_t kMost = 16;
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array() || value.size() <= kMost) return value.dump();
  std::string out = "[";
  for (size_t i = 0; i < 4; ++i) out += value[i].dump() + ",";
  return out + "... " + std::to_string(value.size()) + " in all]";
}

void append_lines(std::ostringstream& out, const Json& value, const std::string& indent) {
  constexpr size_t kMost = 24;
  size_t shown = 0;
  for (const auto& [key, item] : value.items()) {
    if (shown++ == kMost && value.size() > kMost + 4) {
      out << indent << "... and " << value.size() - kMost << " more (--json - shows all)\n";
      return;
    }
    const std::string name = value.is_array() ? "-" : key + ":";
    if ((item.is_object() || (item.is_array() && !item.empty() && !item[0].is_number())) &&
        item.dump().size() > 60) {
      out << indent << name << "\n";
      append_lines(out, item, indent + "  ");
    } else {
      out << indent << name << " " << in_a_line(item) << "\n";
    }
  }
}

}  // namespace

Json describe(const std::string& path) {
  std::error_code failure;
  check(fs::exists(path, failure), path, ": there is no such file or folder");
  if (fs::is_directory(path, failure))
    return is_foreign_model(path) ? describe_foreign(path) : describe_run(path);
  std::ifstream file(path, std::ios::binary);
  char first[8] = {};
  file.read(first, sizeof first);
  check(file.gcount() > 0, path, ": is empty or cannot be read");
  const std::string magic(first, static_cast<size_t>(file.gcount()));
  if (magic.rfind("\x89PNG", 0) == 0 || magic.rfind("\xff\xd8", 0) == 0)
    return describe_image(path);
  if (magic.rfind("\x93NUMPY", 0) == 0) {
    const at::Tensor tensor = read_npy(path);
    return {{"kind", "npy"},
            {"file", path},
            {"dtype", std::string(toString(tensor.scalar_type()))},
            {"shape", tensor.sizes().vec()}};
  }
  if (is_foreign_model(path)) return describe_foreign_file(path);
  check(fs::path(path).extension() == ".safetensors", path,
        ": not a kind of file that is known here; expected a run, a file of weights "
        "(.safetensors, .pt, .pth, .bin), a PNG, a JPEG or a .npy file");
  return describe_safetensors(path);
}

std::string describe_in_words(const Json& description) {
  std::ostringstream out;
  append_lines(out, description, "");
  return out.str();
}

}  // namespace tweedie
