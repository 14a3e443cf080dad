#include "tweedie/tensor/npy.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <vector>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"

namespace tweedie {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicBytes = 6;
constexpr size_t kMaxHeader = 1 << 20;

struct Type {
  const char* descr;
  at::ScalarType type;
};
constexpr Type kTypes[] = {{"<f4", at::kFloat},
                           {"<f8", at::kDouble},
                           {"<i8", at::kLong},
                           {"<i4", at::kInt},
                           {"|u1", at::kByte}};
constexpr const char* kKnownTypes = "float32, float64, int64, int32 and uint8";

std::string shape_text(at::IntArrayRef shape) {
  std::string out = "(";
  for (const int64_t size : shape) out += std::to_string(size) + (shape.size() == 1 ? "," : ", ");
  if (shape.size() > 1) out.resize(out.size() - 2);
  return out + ")";
}

struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;
};

/// Reads the Python dictionary of the header, and nothing more of Python than it needs.
class HeaderParser {
 public:
  HeaderParser(const std::string& text, const std::string& path) : text_(text), path_(path) {}

  Header parse() {
    Header header;
    expect('{');
    while (!take('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        once(header.descr.has_value(), key);
        header.descr = quoted();
      } else if (key == "fortran_order") {
        once(header.fortran_order.has_value(), key);
        header.fortran_order = truth();
      } else if (key == "shape") {
        once(header.shape.has_value(), key);
        header.shape = tuple();
      } else {
        fail("unknown key '" + key + "'");
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (at_ != text_.size()) fail("text after the dictionary");
    if (!header.descr || !header.fortran_order || !header.shape)
      fail("needs 'descr', 'fortran_order' and 'shape'");
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(path_ + ": damaged .npy header: " + what);
  }
  void once(bool before, const std::string& key) const {
    if (before) fail("'" + key + "' is given twice");
  }
  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool take(char c) {
    skip_spaces();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(std::string("expected '") + c + "' at byte " + std::to_string(at_));
  }
  std::string quoted() {
    expect('\'');
    const size_t end = text_.find('\'', at_);
    // A structured dtype is a list and an object array may say '|O': neither ends up here as known.
    if (end == std::string::npos || end - at_ > 40) fail("a name that does not end");
    const std::string out = text_.substr(at_, end - at_);
    at_ = end + 1;
    return out;
  }
  bool truth() {
    skip_spaces();
    for (const auto& [word, value] : {std::pair{"True", true}, std::pair{"False", false}}) {
      if (text_.compare(at_, std::strlen(word), word) != 0) continue;
      at_ += std::strlen(word);
      return value;
    }
    fail("'fortran_order' is neither True nor False");
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> out;
    expect('(');
    while (!take(')')) {
      out.push_back(number());
      if (out.size() > 32) fail("more than 32 dimensions");
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return out;
  }
  int64_t number() {
    skip_spaces();
    const size_t begin = at_;
    int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      if (__builtin_mul_overflow(value, 10, &value) ||
          __builtin_add_overflow(value, text_[at_] - '0', &value))
        fail("a dimension is too large");
    if (at_ == begin) fail("a dimension is not a whole number");
    return value;
  }

  const std::string& text_;
  const std::string& path_;
  size_t at_ = 0;
};

std::string read_header(std::ifstream& file, uint64_t size, const std::string& path) {
  std::array<char, kMagicBytes + 2> first;
  file.read(first.data(), first.size());
  check(file.good() && std::memcmp(first.data(), kMagic, kMagicBytes) == 0, path,
        ": is not a NumPy .npy file");
  const int major = first[kMagicBytes];
  check(major >= 1 && major <= 3, path, ": has .npy format ", major,
        ".x; formats 1.0 to 3.0 are read");
  std::array<unsigned char, 4> bytes{};
  file.read(reinterpret_cast<char*>(bytes.data()), major == 1 ? 2 : 4);
  const size_t length = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | size_t{bytes[3]} << 24;
  check(file.good() && length <= size && length <= kMaxHeader, path,
        ": damaged .npy file: its header would have ", length, " bytes");
  std::string header(length, ' ');
  file.read(header.data(), static_cast<std::streamsize>(length));
  check(file.good(), path, ": damaged .npy file: it ends within its header");
  return header;
}

}  // namespace

void write_npy(const std::string& path, const at::Tensor& tensor) {
  check(tensor.defined() && tensor.layout() == at::kStrided, path,
        ": only ordinary (strided) tensors can be written");
  const at::Tensor host = tensor.detach().cpu().contiguous();
  const char* descr = nullptr;
  for (const Type& type : kTypes)
    if (host.scalar_type() == type.type) descr = type.descr;
  check(descr, path, ": .npy files are written of ", kKnownTypes, ", not ",
        c10::toString(host.scalar_type()));
  std::string header = std::string("{'descr': '") + descr +
                       "', 'fortran_order': False, 'shape': " + shape_text(host.sizes()) + ", }";
  const size_t before = kMagicBytes + 2 + 2;
  header.resize((before + header.size() + 1 + 63) / 64 * 64 - before - 1, ' ');
  header += '\n';
  std::string start(kMagic, kMagicBytes);
  start +=
      {'\1', '\0', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  write_file_atomically(path, [&](const WriteBytes& write) {
    write(start.data(), start.size());
    write(header.data(), header.size());
    write(host.data_ptr(), host.nbytes());
  });
}

at::Tensor read_npy(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  check(std::filesystem::exists(status), path, ": no such file");
  check(std::filesystem::is_regular_file(status), path, ": is not a file");
  const uint64_t size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  check(!error && file.good(), path, ": cannot be read: ", std::strerror(errno));

  const std::string text = read_header(file, size, path);
  const Header header = HeaderParser(text, path).parse();
  const Type* found = nullptr;
  for (const Type& type : kTypes)
    if (*header.descr == type.descr) found = &type;
  check(found, path, ": has dtype '", *header.descr, "'; little-endian ", kKnownTypes,
        " are read; convert it with .astype()");
  check(!*header.fortran_order, path,
        ": is in Fortran order; save it again from numpy.ascontiguousarray");
  int64_t bytes = static_cast<int64_t>(c10::elementSize(found->type)), extent = bytes;
  for (const int64_t dimension : *header.shape) {
    check(!__builtin_mul_overflow(extent, std::max<int64_t>(dimension, 1), &extent), path,
          ": its shape ", shape_text(*header.shape), " has more elements than can be addressed");
    bytes *= dimension;
  }
  const uint64_t data = size - static_cast<uint64_t>(file.tellg());
  check(static_cast<uint64_t>(bytes) == data, path, ": its shape ", shape_text(*header.shape),
        " needs ", bytes, " bytes, the file has ", data, "; it is truncated or damaged");
  const at::Tensor out = at::empty(*header.shape, at::TensorOptions(found->type));
  file.read(static_cast<char*>(out.data_ptr()), bytes);
  check(file.good(), path, ": cannot be read to its end");
  return out;
}

}  // namespace tweedie
