// Progress on standard error: one line redrawn on a terminal, a plain line every 10 seconds
// elsewhere.
#pragma once

#include <chrono>
#include <string>

namespace tweedie {

class Progress {
 public:
  Progress();
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// The current state; shown at most 10 times a second on a terminal, every 10 seconds elsewhere.
  void update(const std::string& state);
  /// A line that stays.
  void say(const std::string& line);
  /// Shows the latest state and ends its line: before results are printed.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void draw();
  void erase();

  bool terminal_;
  bool drawn_ = false;
  std::string latest_;
  std::string shown_;
  Clock::time_point last_;
};

}  // namespace tweedie
