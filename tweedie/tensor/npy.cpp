#include "tweedie/tensor/npy.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/base/mapped_file.h"
#include "tweedie/tensor/zip.h"

namespace tweedie {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicBytes = 6;
constexpr size_t kMaxHeader = 1 << 20;

struct Type {
  const char* name;  // kind and bytes, as NumPy writes them after the byte order
  at::ScalarType type;
  bool wider = false;  // LibTorch has none such: what is read becomes this
};
constexpr Type kTypes[] = {
    {"f4", at::kFloat}, {"f8", at::kDouble},    {"f2", at::kHalf},       {"i8", at::kLong},
    {"i4", at::kInt},   {"i2", at::kShort},     {"i1", at::kChar},       {"u1", at::kByte},
    {"b1", at::kBool},  {"u2", at::kInt, true}, {"u4", at::kLong, true}, {"u8", at::kLong, true}};
constexpr const char* kKnownTypes = "float16 to 64, int8 to 64, uint8 to 64 and bool";

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
        check(!take('['), path_,
              ": is of records (a structured dtype); save its fields as one array: "
              "numpy.lib.recfunctions.structured_to_unstructured");
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

/// The header's text; `data` becomes what comes after it.
std::string read_header(std::string_view file, std::string_view* data, const std::string& where) {
  check(file.size() >= kMagicBytes + 4 && file.starts_with(std::string_view(kMagic, kMagicBytes)),
        where, ": is not a NumPy .npy file");
  const int major = file[kMagicBytes];
  check(major >= 1 && major <= 3, where, ": has .npy format ", major,
        ".x; formats 1.0 to 3.0 are read");
  const size_t width = major == 1 ? 2 : 4, begin = kMagicBytes + 2 + width;
  size_t length = 0;
  for (size_t i = width; i-- > 0;)
    length = length << 8 |
             (begin <= file.size() ? static_cast<unsigned char>(file[kMagicBytes + 2 + i]) : 255);
  check(begin <= file.size() && length <= file.size() - begin && length <= kMaxHeader, where,
        ": damaged .npy file: its header would have ", length, " bytes");
  *data = file.substr(begin + length);
  return std::string(file.substr(begin, length));
}

/// Numbers without a sign as wider ones with one.
template <class From, class To>
at::Tensor wider(std::string_view bytes, at::IntArrayRef sizes, const std::string& where) {
  const at::Tensor out = at::empty(sizes, c10::CppTypeToScalarType<To>::value);
  auto* const to = out.data_ptr<To>();
  for (int64_t i = 0; i < out.numel(); ++i) {
    From value;
    std::memcpy(&value, bytes.data() + sizeof value * static_cast<size_t>(i), sizeof value);
    check(value <= static_cast<uint64_t>(std::numeric_limits<To>::max()), where, ": has the value ",
          value, "; whole numbers are read up to ", std::numeric_limits<To>::max());
    to[i] = static_cast<To>(value);
  }
  return out;
}

/// Numbers of `size` bytes each, their bytes in the other order.
std::string bytes_swapped(std::string_view bytes, size_t size) {
  std::string out(bytes);
  for (auto at = out.begin(); at != out.end(); at += static_cast<ptrdiff_t>(size))
    std::reverse(at, at + static_cast<ptrdiff_t>(size));
  return out;
}

/// `data` are little-endian numbers, as many as the sizes need.
at::Tensor numbers_of(const OwnedBytes& file, std::string_view data, at::IntArrayRef sizes,
                      const Type& type, const std::string& where) {
  if (!type.wider) return tensor_of(file, data, sizes, type.type);
  if (type.name[1] == '2') return wider<uint16_t, int32_t>(data, sizes, where);
  if (type.name[1] == '4') return wider<uint32_t, int64_t>(data, sizes, where);
  return wider<uint64_t, int64_t>(data, sizes, where);
}

/// The type of a `descr` such as "<f4".
const Type& type_of(const std::string& descr, const std::string& where) {
  if (!descr.empty() && std::string_view("<>|=").find(descr[0]) != std::string_view::npos)
    for (const Type& type : kTypes)
      if (descr.compare(1, std::string::npos, type.name) == 0) return type;
  throw Error(where + ": has dtype '" + descr + "'; " + kKnownTypes +
              " are read; convert it with .astype()");
}

std::string npy_header(const at::Tensor& tensor, const std::string& where) {
  const auto* const type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& t) {
    return tensor.scalar_type() == t.type && !t.wider;
  });
  check(type != std::end(kTypes), where, ": .npy files are written of ", kKnownTypes, ", not ",
        c10::toString(tensor.scalar_type()));
  std::string header = std::string("{'descr': '") + (type->name[1] == '1' ? '|' : '<') +
                       type->name +
                       "', 'fortran_order': False, 'shape': " + shape_text(tensor.sizes()) + ", }";
  const size_t before = kMagicBytes + 2 + 2;
  header.resize((before + header.size() + 1 + 63) / 64 * 64 - before - 1, ' ');
  header += '\n';
  std::string start(kMagic, kMagicBytes);
  start +=
      {'\1', '\0', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  return start + header;
}

at::Tensor on_host(const at::Tensor& tensor, const std::string& where) {
  check(tensor.defined() && tensor.layout() == at::kStrided, where,
        ": only ordinary (strided) tensors can be written");
  return tensor.detach().cpu().contiguous();
}

std::string_view bytes_of(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.data_ptr()), tensor.nbytes()};
}

}  // namespace

void write_npy(const std::string& path, const at::Tensor& tensor) {
  const at::Tensor host = on_host(tensor, path);
  const std::string header = npy_header(host, path);
  write_file_atomically(path, [&](const WriteBytes& write) {
    write(header.data(), header.size());
    write(host.data_ptr(), host.nbytes());
  });
}

at::Tensor parse_npy(const OwnedBytes& file, const std::string& where) {
  std::string_view data;
  const std::string text = read_header(file.bytes, &data, where);
  const Header header = HeaderParser(text, where).parse();
  const Type& type = type_of(*header.descr, where);
  const auto size = static_cast<size_t>(type.name[1] - '0');
  int64_t bytes = static_cast<int64_t>(size), extent = bytes;
  for (const int64_t dimension : *header.shape) {
    check(!__builtin_mul_overflow(extent, std::max<int64_t>(dimension, 1), &extent), where,
          ": its shape ", shape_text(*header.shape), " has more elements than can be addressed");
    bytes *= dimension;
  }
  check(static_cast<uint64_t>(bytes) == data.size(), where, ": its shape ",
        shape_text(*header.shape), " needs ", bytes, " bytes, the file has ", data.size(),
        "; it is truncated or damaged");
  std::vector<int64_t> sizes = *header.shape;
  if (*header.fortran_order) std::reverse(sizes.begin(), sizes.end());
  if (type.type == at::kBool)
    check(std::all_of(data.begin(), data.end(), [](char b) { return b == 0 || b == 1; }), where,
          ": is of truth values, but has bytes other than 0 and 1");
  const bool swapped = (*header.descr)[0] == '>' && size > 1;
  const std::string little = swapped ? bytes_swapped(data, size) : "";
  const at::Tensor out = swapped ? numbers_of({little, nullptr}, little, sizes, type, where)
                                 : numbers_of(file, data, sizes, type, where);
  if (!*header.fortran_order) return out;
  std::vector<int64_t> reversed(sizes.size());
  std::iota(reversed.rbegin(), reversed.rend(), 0);
  return out.permute(reversed).contiguous();
}

at::Tensor read_npy(const std::string& path) {
  const auto file = std::make_shared<MappedFile>(path);
  return parse_npy({file->bytes(), file}, path);
}

void write_npz(const std::string& path, const std::map<std::string, at::Tensor>& tensors) {
  std::vector<at::Tensor> hosts;
  std::vector<std::string> headers;
  for (const auto& [name, tensor] : tensors) {
    const std::string where = path + ": '" + name + "'";
    check(!name.empty() && name.size() < 60000, where, ": is no name for an array");
    hosts.push_back(on_host(tensor, where));
    headers.push_back(npy_header(hosts.back(), where));
  }
  std::vector<ZipPart> parts;
  for (const auto& [name, tensor] : tensors) {
    const size_t i = parts.size();
    parts.push_back({name + ".npy", {headers[i], bytes_of(hosts[i])}});
  }
  write_file_atomically(path, [&](const WriteBytes& write) { write_zip(write, parts); });
}

std::map<std::string, at::Tensor> parse_npz(const OwnedBytes& file, const std::string& where) {
  std::map<std::string, at::Tensor> out;
  for (const ZipEntry& entry : zip_entries(file.bytes, where)) {
    const std::string place = where + ": '" + entry.name.substr(0, 200) + "'";
    check(entry.name.ends_with(".npy"), place, ": is no array (.npy)");
    const std::string name = entry.name.substr(0, entry.name.size() - 4);
    if (entry.deflated) {
      const std::string bytes = inflated(entry, where);
      out[name] = parse_npy({bytes, nullptr}, place);
    } else {
      check_stored(entry, where);
      out[name] = parse_npy({entry.stored, file.owner}, place);
    }
  }
  return out;
}

std::map<std::string, at::Tensor> read_npz(const std::string& path) {
  const auto file = std::make_shared<MappedFile>(path);
  return parse_npz({file->bytes(), file}, path);
}

}  // namespace tweedie
