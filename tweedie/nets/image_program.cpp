#include "tweedie/nets/image_program.h"

#include <map>
#include <mutex>

namespace tweedie {

/// Blocks of memory, free or in use.
class ImageProgram::Memory {
 public:
  void* take(int64_t bytes) {
    const std::lock_guard<std::mutex> guard(mutex_);
    std::vector<void*>& free = free_[bytes];
    if (free.empty()) {
      blocks_.push_back(at::empty({bytes}, at::kByte));
      return blocks_.back().data_ptr();
    }
    void* const block = free.back();
    free.pop_back();
    return block;
  }
  void give(int64_t bytes, void* block) {
    const std::lock_guard<std::mutex> guard(mutex_);
    free_[bytes].push_back(block);
  }

 private:
  std::mutex mutex_;
  std::map<int64_t, std::vector<void*>> free_;
  std::vector<Tensor> blocks_;
};

ImageProgram::ImageProgram() : memory_(std::make_shared<Memory>()) {}

Tensor ImageProgram::buffer(at::IntArrayRef sizes, at::ScalarType type) {
  const int64_t bytes =
      c10::multiply_integers(sizes) * static_cast<int64_t>(c10::elementSize(type));
  const auto give_back = [memory = memory_, bytes](void* block) { memory->give(bytes, block); };
  return at::from_blob(memory_->take(bytes), sizes, give_back, at::TensorOptions(type));
}

void ImageProgram::follow(const std::shared_ptr<kernels::Convolution>& convolution) {
  if (last_) {
    last_->then = convolution->inputs[0].weight;
    last_->then_values = kernels::weight_values(*convolution);
  }
  last_ = convolution;
}

Tensor image_buffer(at::IntArrayRef sizes, at::ScalarType type) {
  ImageProgram* const program = ImageProgram::current();
  return program ? program->buffer(sizes, type) : at::empty(sizes, type);
}

void keep_for_program(const Tensor& x) {
  if (ImageProgram* const program = ImageProgram::current()) program->keep(x);
}

void spoil_program() {
  if (ImageProgram* const program = ImageProgram::current()) program->spoil();
}

}  // namespace tweedie
