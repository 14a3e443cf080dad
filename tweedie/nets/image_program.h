// Operations on images, written down while they are done once and then done again without LibTorch,
// whose bookkeeping takes a sixth of the time of one CIFAR-10 image.
#pragma once

#include <torch/types.h>

#include <functional>
#include <memory>
#include <vector>

#include "tweedie/kernels/images.h"

namespace tweedie {

using torch::Tensor;

class ImageProgram {
 public:
  ImageProgram();

  /// Does `work` and writes down what it performs on this thread.
  template <class Work>
  void write(const Work& work) {
    const Writing writing(this);
    work();
  }
  /// Does it all again, from and to the same memory.
  void run() const {
    for (const auto& step : steps_) step();
  }
  /// Whether `run` does all that `work` did.
  bool complete() const { return complete_; }

  /// The one that this thread is writing, or null.
  static ImageProgram* current() { return current_; }
  void add(std::function<void()> step) { steps_.push_back(std::move(step)); }
  void keep(const Tensor& x) { kept_.push_back(x); }
  void spoil() { complete_ = false; }
  /// The next convolution: the last one is told its weights.
  void follow(const std::shared_ptr<kernels::Convolution>& convolution);
  Tensor buffer(at::IntArrayRef sizes, at::ScalarType type);

 private:
  class Memory;
  class Writing {
   public:
    explicit Writing(ImageProgram* program) : before_(current_) { current_ = program; }
    ~Writing() { current_ = before_; }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;

   private:
    ImageProgram* before_;
  };

  static inline thread_local ImageProgram* current_ = nullptr;
  std::vector<std::function<void()>> steps_;
  std::vector<Tensor> kept_;
  std::shared_ptr<Memory> memory_;
  std::shared_ptr<kernels::Convolution> last_;
  bool complete_ = true;
};

/// Does `step`, which touches only image_buffer()s and what was kept_for_program().
template <class Step>
void perform(const Step& step) {
  step();
  if (ImageProgram* const program = ImageProgram::current()) program->add(step);
}

/// Room for values; a program's own, which it uses again when the tensor is gone, as `step`s are
/// done in the same order every time.
Tensor image_buffer(at::IntArrayRef sizes, at::ScalarType type);

/// x lives as long as a program that is being written.
void keep_for_program(const Tensor& x);

/// Something is done that a program cannot do again.
void spoil_program();

}  // namespace tweedie
