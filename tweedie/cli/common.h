// What several commands share.
#pragma once

#include <functional>
#include <string>

#include "tweedie/base/json.h"
#include "tweedie/base/log.h"
#include "tweedie/cli/progress.h"
#include "tweedie/jobs/model_file.h"

namespace tweedie {

/// Throws Error unless a file of this name could be written: its folder exists and takes files.  To
/// be asked before long work, not after it.
void require_writable(const std::string& path);

/// The same for a chart's name, which must end in .svg or .png; nothing for an empty one.
void require_plot(const std::string& path);

/// `json` as one object to the file, or to standard output for "-"; nothing for an empty name.
void write_json(const std::string& path, const Json& json);

/// A line for people on standard output, unless that belongs to a JSON object.
void say_result(const std::string& json_path, const std::string& line);

/// The data to use with a model: `given`, or what its run was trained on.
std::string data_spec_of(const std::string& model_path, const std::string& given);

/// Program, version, model and weights: the part of a record that says what was used.
Json record_of(const std::string& command, const std::string& model_path, const Model& model);

/// "N of M" lines of a job as progress with the time left.
Log counted_progress(Progress& progress, const std::string& what);

/// Loads a model for sampling or evaluation, saying what it found.
Model open_model(const std::string& path, const Registry& registry, const std::string& weights,
                 const std::string& device, Progress& progress);

}  // namespace tweedie
