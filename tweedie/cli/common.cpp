#include "tweedie/cli/common.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include <fcntl.h>
#include <unistd.h>

#include "tweedie/base/clock.h"
#include "tweedie/base/files.h"
#include "tweedie/cli/blas.h"
#include "tweedie/cli/duration.h"
#include "tweedie/jobs/device.h"
#include "tweedie/jobs/precision.h"
#include "tweedie/jobs/run_folder.h"

namespace tweedie {

namespace fs = std::filesystem;

void require_writable(const std::string& path) {
  check(!path.empty(), "--out: expected the name of a file, got nothing");
  std::error_code failure;
  check(!fs::is_directory(path, failure), path, ": is a folder; expected the name of a file in it");
  fs::path folder = fs::path(path).parent_path();
  if (folder.empty()) folder = ".";
  check(fs::is_directory(folder, failure), path, ": the folder ", folder.string(),
        " does not exist; make it first or choose another name");
  std::string probe = (folder / ".tweedie-XXXXXX").string();
  const int file = mkstemp(probe.data());
  check(file >= 0, path, ": the folder ", folder.string(), " cannot be written to (",
        std::strerror(errno), "); choose another");
  close(file);
  unlink(probe.c_str());
}

void require_plot(const std::string& path) {
  if (path.empty()) return;
  check(path.ends_with(".svg") || path.ends_with(".png"), "--plot ", path,
        ": the name must end in .svg or .png");
  require_writable(path);
}

void write_json(const std::string& path, const Json& json) {
  if (path.empty()) return;
  const std::string text = json.dump(2) + "\n";
  if (path != "-") return write_file_atomically(path, text);
  const bool written = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  check(written, "standard output: cannot be written: ", std::strerror(errno));
}

void say_result(const std::string& json_path, const std::string& line) {
  if (json_path == "-") return;
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

std::string data_spec_of(const std::string& model_path, const std::string& given) {
  if (!given.empty()) return given;
  std::error_code ignored;
  fs::path folder = model_path;
  if (!fs::is_directory(folder, ignored))
    folder = folder.parent_path().parent_path();  // RUN/checkpoints/FILE
  check(fs::exists(folder / "config.json", ignored), model_path,
        ": does not say where its data is; name it with --data SPEC");
  const Json config = read_config(folder.string());
  const std::string spec = config.value("data", Json::object()).value("spec", "");
  check(!spec.empty(), folder.string(), "/config.json: names no data; name it with --data SPEC");
  return spec;
}

Json record_of(const std::string& command, const std::string& model_path, const Model& model) {
  return {{"program", "tweedie " TWEEDIE_VERSION},
          {"command", command},
          {"model", model_path},
          {"step", model.step},
          {"weights", model.weights},
          {"weights_crc32", fingerprint(model)},
          {"schedule", model.schedule.name}};
}

Log counted_progress(Progress& progress, const std::string& what) {
  return [&progress, what, begun = Clock::now()](const std::string& line) {
    long long done = 0, all = 0;
    if (std::sscanf(line.c_str(), "%*s %lld of %lld", &done, &all) != 2 || done == 0)
      return progress.say(line);
    const double seconds = seconds_since(begun);
    const double left = seconds / static_cast<double>(done) * static_cast<double>(all - done);
    char rate[48];
    std::snprintf(rate, sizeof rate, "%.3g", static_cast<double>(done) / std::max(seconds, 1e-9));
    progress.update(what + " " + std::to_string(done) + "/" + std::to_string(all) + "   " + rate +
                    "/s   " + short_duration(left) + " left");
  };
}

Model open_model(const std::string& path, const Registry& registry, const std::string& weights,
                 const std::string& device, Progress& progress) {
  std::error_code ignored;
  check(fs::exists(path, ignored), path,
        ": there is no such file or folder; expected a run folder, a checkpoint or a model file");
  for (const std::string& warning : {slow_blas_warning(), tiles_refused()})
    if (!warning.empty()) progress.say(warning);
  return load_model(path, registry, weights, device_named(device),
                    [&](const std::string& line) { progress.say(line); });
}

}  // namespace tweedie
