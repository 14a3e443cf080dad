#include "tweedie/base/mapped_file.h"

#include <cerrno>
#include <cstring>

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
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace tweedie
