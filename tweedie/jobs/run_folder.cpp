#include "tweedie/jobs/run_folder.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <unistd.h>

#include "tweedie/base/files.h"
#include "tweedie/jobs/checkpoint.h"
#include "tweedie/jobs/event_log.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

std::string in_run(const std::string& run, const char* name) {
  return (fs::path(run) / name).string();
}

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

}  // namespace

FileLock open_run_folder(const std::string& run, bool resume) {
  check(!run.empty(), "--out: expected a folder for the run, got nothing");
  std::error_code failure;
  check(!exists(run) || fs::is_directory(run, failure), run,
        ": is a file; --out needs a folder for the run");
  fs::create_directories(run, failure);
  check(!failure, run, ": cannot be made: ", failure.message(), "; choose another --out");
  const bool writable = access(run.c_str(), W_OK | X_OK) == 0;
  check(writable, run, ": cannot be written to (", std::strerror(errno),
        "); choose another --out or change its permissions");
  FileLock lock = try_lock_file(in_run(run, "lock"));
  check(
      lock != nullptr, run,
      ": another training is at work in this folder; wait until it ends, or choose another --out");
  check(resume || list_checkpoints(run).empty(), run,
        ": already holds a run; add --resume to continue it, or choose another --out");
  return lock;
}

void write_config(const std::string& run, const RunConfig& config) {
  write_file_atomically(in_run(run, "config.json"), to_json(config).dump(2) + "\n");
}

Json read_config(const std::string& run) {
  const std::string path = in_run(run, "config.json");
  Json config = parse_json(read_file(path));
  check(config.is_object(), path,
        ": is not the configuration of a run; restore it or start the run again");
  return config;
}

void write_seconds_spent(const std::string& run, double seconds) {
  write_file_atomically(in_run(run, "budget.json"), Json{{"seconds_spent", seconds}}.dump() + "\n");
}

double read_seconds_spent(const std::string& run) {
  const std::string path = in_run(run, "budget.json");
  if (!exists(path)) return 0;
  const Json budget = parse_json(read_file(path));
  check(budget.is_object() && budget.contains("seconds_spent") &&
            budget["seconds_spent"].is_number() && budget["seconds_spent"].get<double>() >= 0,
        path, ": cannot be read; delete it to begin the budget anew");
  return budget["seconds_spent"];
}

void append_metrics(const std::string& run, const Json& line) {
  const std::string path = in_run(run, "metrics.jsonl");
  std::ofstream file(path, std::ios::app);
  file << line.dump() << "\n";
  file.flush();
  check(file.good(), path, ": cannot be written: ", std::strerror(errno));
  EventLog(run).scalars(line.at("step").get<int64_t>(), line);
}

void truncate_metrics(const std::string& run, int64_t step) {
  const std::string path = in_run(run, "metrics.jsonl");
  if (!exists(path)) return;
  std::istringstream lines(read_file(path));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const Json record = parse_json(line);
    if (!record.is_object() || record.value("step", int64_t{-1}) > step) continue;
    kept += line + "\n";
  }
  write_file_atomically(path, kept);
  EventLog(run).restart(step);
}

}  // namespace tweedie
