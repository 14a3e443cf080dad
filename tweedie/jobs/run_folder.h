// What lies in a run folder beside its checkpoints.
#pragma once

#include <string>

#include "tweedie/base/lock.h"
#include "tweedie/jobs/config.h"

namespace tweedie {

/// Makes the folder, or takes one up to continue it; nobody else can while the lock is held.
/// Throws Error if it cannot be written to, if another training is at work in it, or if it holds
/// checkpoints and `resume` is false.
FileLock open_run_folder(const std::string& run, bool resume);

/// RUN/config.json: the whole configuration, with the place of the data.
void write_config(const std::string& run, const RunConfig& config);
/// Throws Error if there is none or it is damaged.
Json read_config(const std::string& run);

/// RUN/budget.json: seconds of a wall-clock budget already spent; kept out of checkpoints so that
/// equal runs stay equal.
void write_seconds_spent(const std::string& run, double seconds);
double read_seconds_spent(const std::string& run);

/// RUN/metrics.jsonl: one JSON object a line, each with its "step"; and its numbers in the event
/// file beside it (event_log.h).
void append_metrics(const std::string& run, const Json& line);
/// Forgets the lines after `step` and a last line cut short by a kill.
void truncate_metrics(const std::string& run, int64_t step);

}  // namespace tweedie
