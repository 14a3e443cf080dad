// Memory that a thread keeps for its next call: grown when needed, on huge pages where the system
// has them, never given back before the thread ends.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>

namespace tweedie::kernels {

class Scratch {
 public:
  Scratch() = default;
  ~Scratch() { std::free(memory_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// At least `count` values, on a cache line; what is in them is whatever was left there.
  template <class T>
  T* get(int64_t count) {
    const auto bytes = static_cast<size_t>(count) * sizeof(T);
    if (bytes > size_) grow(bytes);
    return static_cast<T*>(memory_);
  }

 private:
  void grow(size_t bytes) {
    constexpr size_t kHugePage = size_t{2} << 20;
    std::free(memory_);
    memory_ = nullptr;
    size_ = 0;
    const size_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    memory_ = std::aligned_alloc(kHugePage, rounded);
    if (!memory_) throw std::bad_alloc();
    madvise(memory_, rounded, MADV_HUGEPAGE);
    size_ = rounded;
  }

  void* memory_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tweedie::kernels
