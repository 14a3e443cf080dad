#include "tweedie/jobs/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "tweedie/base/error.h"
#include "tweedie/tensor/safetensors.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "tweedie checkpoint 1";

fs::path folder_of(const std::string& run) { return fs::path(run) / "checkpoints"; }

Json parse_metadata(const TensorFile& file, const std::string& path) {
  const auto format = file.metadata.find("format");
  const auto body = file.metadata.find("tweedie");
  check(format != file.metadata.end() && body != file.metadata.end(), path,
        ": a safetensors file, but not a checkpoint of tweedie (its metadata has no 'tweedie' "
        "entry)");
  check(format->second == kFormat, path, ": has format '", format->second,
        "', this program reads '", kFormat, "'");
  Json json = parse_json(body->second);
  check(json.is_object() && json.contains("step") && json["step"].is_number_integer() &&
            json["step"].get<double>() >= 0 && json["step"].get<double>() < 1e15,
        path, ": its metadata cannot be read; use an earlier checkpoint");
  return json;
}

}  // namespace

std::string checkpoint_path(const std::string& run, int64_t step) {
  char name[64];
  std::snprintf(name, sizeof name, "step-%09lld.safetensors", static_cast<long long>(step));
  return (folder_of(run) / name).string();
}

std::vector<std::string> list_checkpoints(const std::string& run) {
  std::vector<std::string> paths;
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_of(run), missing)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.ends_with(".safetensors"))
      paths.push_back(entry.path().string());
  }
  std::sort(paths.rbegin(), paths.rend());
  return paths;
}

void write_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  TensorFile file;
  file.tensors = checkpoint.tensors;
  file.metadata["format"] = kFormat;
  file.metadata["tweedie"] = Json{
      {"step", checkpoint.step},
      {"config", checkpoint.config},
      {"data", checkpoint.data},
      {"state",
       checkpoint.state}}.dump();
  write_checked_safetensors(path, file);
}

void save_checkpoint(const std::string& run, const Checkpoint& checkpoint, int64_t keep) {
  std::error_code failure;
  fs::create_directories(folder_of(run), failure);
  check(!failure, folder_of(run).string(), ": cannot be created: ", failure.message());
  write_checkpoint(checkpoint_path(run, checkpoint.step), checkpoint);
  const std::vector<std::string> paths = list_checkpoints(run);
  for (size_t i = static_cast<size_t>(keep); i < paths.size(); ++i) fs::remove(paths[i], failure);
}

Checkpoint load_checkpoint(const std::string& path) {
  TensorFile file = read_checked_safetensors(path);
  const Json json = parse_metadata(file, path);
  return {json["step"].get<int64_t>(), json.value("config", Json::object()),
          json.value("data", Json::object()), json.value("state", Json::object()),
          std::move(file.tensors)};
}

std::optional<Checkpoint> newest_checkpoint(const std::string& run, const Log& log) {
  const std::vector<std::string> paths = list_checkpoints(run);
  std::string last_failure;
  for (const std::string& path : paths) {
    try {
      return load_checkpoint(path);
    } catch (const Error& error) {
      last_failure = error.what();
      if (log) log("passing over a checkpoint that cannot be used: " + last_failure);
    }
  }
  check(paths.empty(), run, ": none of its ", paths.size(),
        " checkpoints can be used; the last said: ", last_failure);
  return std::nullopt;
}

}  // namespace tweedie
