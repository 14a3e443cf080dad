#include "tweedie/cli/progress.h"

#include <cstdio>

#include <sys/ioctl.h>
#include <unistd.h>

namespace tweedie {
namespace {

constexpr std::chrono::milliseconds kRedraw(100);
constexpr std::chrono::seconds kPlain(10);

/// A line that is longer than the terminal is wide could not be redrawn.
std::string fitted(const std::string& line) {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? line.substr(0, size.ws_col - 1u) : line;
}

}  // namespace

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1), last_(Clock::now()) {}

void Progress::finish() {
  if (!latest_.empty() && latest_ != shown_) draw();
  if (drawn_) std::fputs("\n", stderr);
  drawn_ = false;
}

void Progress::update(const std::string& state) {
  latest_ = state;
  const bool first = terminal_ && !drawn_;
  const Clock::duration wait = terminal_ ? Clock::duration(kRedraw) : Clock::duration(kPlain);
  if (first || Clock::now() - last_ >= wait) draw();
}

void Progress::say(const std::string& line) {
  erase();
  std::fprintf(stderr, "%s\n", line.c_str());
  if (terminal_ && !latest_.empty()) draw();
}

void Progress::draw() {
  last_ = Clock::now();
  shown_ = latest_;
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", fitted(latest_).c_str());
    drawn_ = true;
  } else {
    std::fprintf(stderr, "%s\n", latest_.c_str());
  }
  std::fflush(stderr);
}

void Progress::erase() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

}  // namespace tweedie
