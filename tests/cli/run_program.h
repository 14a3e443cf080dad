// Runs the real program and keeps what it said.
#pragma once

#include <csignal>
#include <functional>
#include <string>
#include <vector>

namespace tweedie::test {

struct Outcome {
  int status;  // exit status; 128 + n for a signal
  std::string out, err;
};

/// Runs `tweedie` with the arguments, GOMP_SPINCOUNT set as the program would set it for itself by
/// starting twice, unless `own_spins`; sends SIGINT once `interrupt_when`, asked again and again,
/// says true.
Outcome run_program(const std::vector<std::string>& arguments,
                    const std::function<bool()>& interrupt_when = {}, int signal = SIGINT,
                    bool own_spins = false);

/// A folder that is removed with all its contents when the test ends.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  /// Every file below it, relative, hidden ones included.
  std::vector<std::string> files() const;

 private:
  std::string path_;
};

size_t line_count(const std::string& text);

}  // namespace tweedie::test
