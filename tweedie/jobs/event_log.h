// Event files of TensorBoard: scalars and images as other programs' dashboards read them.
#pragma once

#include <string>

#include <ATen/ATen.h>

#include "tweedie/base/json.h"

namespace tweedie {

/// FOLDER/events.out.tfevents.0.tweedie: records of TensorFlow's file format, each an Event in
/// protocol buffers.
class EventLog {
 public:
  /// Throws Error if the file cannot be written.
  explicit EventLog(const std::string& folder);

  /// The numbers of a line of metrics (jobs/run_folder.h) under their keys; lists as KEY/1, KEY/2.
  void scalars(int64_t step, const Json& line);
  /// Pixels as for encode_png.
  void image(int64_t step, const std::string& tag, const at::Tensor& pixels);
  /// Before a run goes on from this step: cuts off what a kill left unfinished, and tells
  /// dashboards to forget what comes after it.
  void restart(int64_t step);

  const std::string& path() const { return path_; }

 private:
  void append(int64_t step, const std::string& what);

  std::string path_;
};

/// CRC-32C (Castagnoli) of bytes, which each record ends in.
uint32_t crc32c(const std::string& bytes);

}  // namespace tweedie
