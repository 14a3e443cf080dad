// Ctrl-C as a question that long work asks.
#pragma once

namespace tweedie {

/// While it lives, the first Ctrl-C (or SIGTERM) only sets a flag; a second one ends the program at
/// once.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool interrupted();
};

}  // namespace tweedie
