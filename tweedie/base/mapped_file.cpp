#include "tweedie/base/mapped_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tweedie/base/error.h"

namespace tweedie {

MappedFile::MappedFile(const std::string& path) {
  // Without O_NONBLOCK opening a pipe would wait for a writer.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const int failure = errno;
  check(file >= 0, path, ": ", failure == ENOENT ? "no such file" : "cannot be read: ",
        failure == ENOENT ? "" : std::strerror(failure));
  struct stat about;
  const bool regular = ::fstat(file, &about) == 0 && S_ISREG(about.st_mode);
  if (regular && about.st_size > 0) {
    size_ = static_cast<size_t>(about.st_size);
    void* const memory =
        ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, 0);
    if (memory != MAP_FAILED) data_ = static_cast<char*>(memory);
  }
  const std::string reason = std::strerror(errno);
  ::close(file);
  check(regular, path, ": is not a file");
  check(size_ == 0 || data_ != nullptr, path, ": cannot be read: ", reason);
}

MappedFile::~MappedFile() {
  wanted_ = false;
  if (reader_.joinable()) reader_.join();
  if (data_ != nullptr) ::munmap(data_, size_);
}

void MappedFile::read_ahead() {
#ifdef MADV_POPULATE_READ  // Linux 5.14; a kernel that does not know it reads where it is touched
  static constexpr size_t kPiece = size_t{32} << 20;
  if (size_ <= kPiece || reader_.joinable()) return;
  try {
    reader_ = std::thread([this] {
      for (size_t at = 0; at < size_ && wanted_; at += kPiece)
        if (::madvise(data_ + at, std::min(kPiece, size_ - at), MADV_POPULATE_READ) != 0) return;
    });
  } catch (const std::system_error&) {  // no thread to be had: it is read where it is touched
  }
#endif
}

}  // namespace tweedie
