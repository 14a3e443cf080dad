#include "tweedie/datasets/idx_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include <zlib.h>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 33;
constexpr int64_t kPiece = int64_t{1} << 22;

using GzFile = std::unique_ptr<gzFile_s, int (*)(gzFile)>;

/// Reads up to `count` bytes; fewer at the end of the file.
int64_t read_some(gzFile file, uint8_t* to, int64_t count, const std::string& path) {
  const int got = gzread(file, to, static_cast<unsigned>(count));
  int code = Z_OK;
  const char* message = gzerror(file, &code);
  // Z_BUF_ERROR after a short read: the compressed stream does not end properly.
  check(got >= 0 && (code == Z_OK || code == Z_STREAM_END), path,
        ": damaged or truncated gzip file: ", code == Z_ERRNO ? std::strerror(errno) : message);
  return got;
}

}  // namespace

IdxArray read_idx(const std::string& path, int64_t dimensions) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  check(std::filesystem::exists(status), path, ": no such file");
  check(std::filesystem::is_regular_file(status), path, ": is not a file");
  const GzFile file(gzopen(path.c_str(), "rb"), &gzclose);
  check(file != nullptr, path, ": cannot be read: ", std::strerror(errno));
  gzbuffer(file.get(), 1 << 17);

  uint8_t magic[4] = {};
  const int64_t got = read_some(file.get(), magic, 4, path);
  check(got > 0, path, ": is empty; expected an IDX file");
  check(got == 4 && magic[0] == 0 && magic[1] == 0 && magic[2] == 8 && magic[3] == dimensions, path,
        ": is not an IDX file of unsigned bytes with ", dimensions,
        " dimensions (its magic number ", "should be 0 0 8 ", dimensions, ")");
  IdxArray out;
  int64_t bytes = 1;
  for (int64_t i = 0; i < dimensions; ++i) {
    uint8_t size[4] = {};
    check(read_some(file.get(), size, 4, path) == 4, path, ": truncated within its header");
    out.shape.push_back(int64_t{size[0]} << 24 | size[1] << 16 | size[2] << 8 | size[3]);
    check(out.shape.back() > 0, path, ": dimension ", i, " is 0; expected data");
    check(!__builtin_mul_overflow(bytes, out.shape.back(), &bytes) && bytes <= kMaxBytes, path,
          ": its dimensions ask for more than ", kMaxBytes >> 30, " GiB; it is damaged");
  }
  while (static_cast<int64_t>(out.values.size()) < bytes) {
    const auto before = static_cast<int64_t>(out.values.size());
    const int64_t wanted = std::min(kPiece, bytes - before);
    out.values.resize(static_cast<size_t>(before + wanted));
    const int64_t read = read_some(file.get(), out.values.data() + before, wanted, path);
    check(read == wanted, path, ": truncated: its dimensions need ", bytes, " bytes, it has ",
          before + read);
  }
  uint8_t more = 0;
  check(read_some(file.get(), &more, 1, path) == 0, path, ": has bytes after the ", bytes,
        " that its dimensions ask for");
  return out;
}

}  // namespace tweedie
