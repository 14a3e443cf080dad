#include "tweedie/base/files.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tweedie/base/error.h"
#include "tweedie/base/lock.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

/// Why the last system call failed.  Call it after that call's own statement: the order in which a
/// function's arguments are evaluated is not defined.
std::string reason() { return std::strerror(errno); }

/// A file descriptor that closes itself.
struct Descriptor {
  int number = -1;
  explicit Descriptor(int opened) : number(opened) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

enum class Lock { taken, refused, unknown };  // unknown: this file system has none

Lock lock(int file) {
  if (::flock(file, LOCK_EX | LOCK_NB) == 0) return Lock::taken;
  return errno == EWOULDBLOCK ? Lock::refused : Lock::unknown;
}

constexpr std::string_view kTemporary = ".partial";

/// Removes the temporary files of `path` whose writers are dead: those that nobody has locked.
void remove_stale(const fs::path& path) {
  const std::string base = path.filename().string();
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.size() < base.size() + kTemporary.size() || !name.starts_with(base) ||
        !name.ends_with(kTemporary))
      continue;
    // Ours are NAME.12-3.partial; older versions made NAME.partial.
    const std::string middle =
        name.substr(base.size(), name.size() - base.size() - kTemporary.size());
    if (middle.find_first_not_of(".-0123456789") != std::string::npos) continue;
    if (!middle.empty() && middle.find('-') == std::string::npos) continue;
    const Descriptor file(::open(entry.path().c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (file.number >= 0 && lock(file.number) == Lock::taken) ::unlink(entry.path().c_str());
  }
}

/// A new file beside `path`, locked so that no other writer takes it for a dead one's; removed at
/// the end unless it became the file itself.
class Temporary {
 public:
  explicit Temporary(const std::string& path) {
    static std::atomic<int64_t> count = 0;
    for (bool mine = false; !mine;) {
      name_ = path + "." + std::to_string(::getpid()) + "-" + std::to_string(++count) +
              std::string(kTemporary);
      file_.emplace(::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      if (file_->number < 0 && errno == EEXIST) continue;
      check(file_->number >= 0, path, ": cannot write in its folder: ", reason());
      // Another writer may have removed it before it was locked.
      struct stat about;
      mine = lock(file_->number) != Lock::refused && ::fstat(file_->number, &about) == 0 &&
             about.st_nlink > 0;
    }
  }
  ~Temporary() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  int file() const { return file_->number; }
  void become(const std::string& path) {
    const bool renamed = ::rename(name_.c_str(), path.c_str()) == 0;
    check(renamed, path, ": cannot be replaced: ", reason());
    name_.clear();
  }

 private:
  std::string name_;
  std::optional<Descriptor> file_;
};

void write_all(int file, const char* bytes, size_t count, const std::string& path) {
  while (count > 0) {
    const ssize_t written = ::write(file, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    check(written > 0, path, ": cannot write: ", written < 0 ? reason() : "nothing was accepted",
          errno == ENOSPC ? "; free some space or write elsewhere" : "");
    bytes += written;
    count -= static_cast<size_t>(written);
  }
}

/// Makes the new name of a file in `folder` survive a power cut.
void sync_folder(const std::string& folder) {
  const Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  check(opened.number >= 0, folder, ": cannot open the folder: ", reason());
  // Some file systems have no fsync of folders and say EINVAL.
  const bool synced = ::fsync(opened.number) == 0 || errno == EINVAL;
  check(synced, folder, ": cannot sync the folder: ", reason());
}

}  // namespace

FileLock try_lock_file(const std::string& path) {
  const int opened = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  check(opened >= 0, path, ": cannot be opened: ", reason());
  const auto file = std::make_shared<const Descriptor>(opened);
  return lock(opened) == Lock::refused ? nullptr : file;
}

std::string read_file(const std::string& path, size_t max_bytes) {
  struct stat about;
  const bool found = ::stat(path.c_str(), &about) == 0;
  check(found, path, ": cannot be read: ", reason());
  check(!S_ISDIR(about.st_mode), path, ": is a folder; expected a file");
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  check(file.number >= 0, path, ": cannot be read: ", reason());
  std::string contents;
  // A pipe has no size beforehand, so the limit is checked while reading too.
  if (S_ISREG(about.st_mode)) {
    const auto size = static_cast<size_t>(about.st_size);
    check(size <= max_bytes, path, ": has ", size, " bytes; at most ", max_bytes, " are read here");
    contents.reserve(size);
  }
  char block[1 << 16];
  for (;;) {
    const ssize_t got = ::read(file.number, block, sizeof block);
    if (got < 0 && errno == EINTR) continue;
    check(got >= 0, path, ": cannot be read: ", reason());
    if (got == 0) return contents;
    check(contents.size() + static_cast<size_t>(got) <= max_bytes, path, ": has more than ",
          max_bytes, " bytes, the most that are read here");
    contents.append(block, static_cast<size_t>(got));
  }
}

void write_file_atomically(const std::string& given,
                           const std::function<void(const WriteBytes&)>& fill) {
  check(!given.empty(), "cannot write a file without a name");
  std::error_code error;
  // What a link names is replaced, not the link; a device (/dev/null) must never be.
  const std::string path =
      fs::is_symlink(given, error) ? fs::weakly_canonical(given, error).string() : given;
  check(!path.empty(), given, ": cannot follow the link: ", error.message());
  const fs::file_status status = fs::status(path, error);
  check(!fs::is_directory(status), path, ": is a folder; expected the name of a file to write");
  check(!fs::exists(status) || fs::is_regular_file(status), path,
        ": is not a plain file; expected the name of a file to write");
  const std::string parent = fs::path(path).parent_path().string();
  const std::string folder = parent.empty() ? "." : parent;
  check(fs::is_directory(folder, error), path, ": the folder ", folder,
        " does not exist; make it first");

  remove_stale(path);
  Temporary temporary(path);
  std::string buffer;
  constexpr size_t kBuffer = 1 << 16;
  fill([&](const void* bytes, size_t count) {
    if (count == 0) return;  // an empty tensor has no address
    const char* from = static_cast<const char*>(bytes);
    if (buffer.size() + count <= kBuffer) {
      buffer.append(from, count);
      return;
    }
    write_all(temporary.file(), buffer.data(), buffer.size(), path);
    buffer.clear();
    write_all(temporary.file(), from, count, path);
  });
  write_all(temporary.file(), buffer.data(), buffer.size(), path);
  const bool synced = ::fsync(temporary.file()) == 0;
  check(synced, path, ": cannot write to the disk: ", reason());
  temporary.become(path);
  sync_folder(folder);
}

void write_file_atomically(const std::string& path, std::string_view contents) {
  write_file_atomically(path,
                        [&](const WriteBytes& write) { write(contents.data(), contents.size()); });
}

}  // namespace tweedie
