// A file as memory.
#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <thread>

namespace tweedie {

/// The whole file, read from the disk where it is touched.  What is written to its bytes stays in
/// this process.  As with any mapping, the file must not be made shorter by others meanwhile; one
/// that is replaced (renamed over) stays as it was.
class MappedFile {
 public:
  /// Throws Error (path, reason) if it is missing, a folder or cannot be read.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {data_, size_}; }

  /// Begins to read all of it in the background: where all will be used that is faster than page by
  /// page.
  void read_ahead();

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
  std::atomic<bool> wanted_ = true;
  std::thread reader_;
};

}  // namespace tweedie
