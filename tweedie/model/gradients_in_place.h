// Gradients of weights where they belong at once.
#pragma once

namespace tweedie {

/// While it lives, backward passes of this thread may add the gradients of weights to their .grad
/// themselves, instead of handing them to autograd to be added.  For `loss.backward()` alone: what
/// torch::autograd::grad returns would lack them.
class GradientsInPlace {
 public:
  GradientsInPlace() : before_(active_) { active_ = true; }
  ~GradientsInPlace() { active_ = before_; }
  GradientsInPlace(const GradientsInPlace&) = delete;
  GradientsInPlace& operator=(const GradientsInPlace&) = delete;

  static bool active() { return active_; }

 private:
  static inline thread_local bool active_ = false;
  bool before_;
};

}  // namespace tweedie
