#include "tweedie/tensor/safetensors.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <limits>
#include <set>

#include <zlib.h>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/base/json.h"
#include "tweedie/base/mapped_file.h"

namespace tweedie {
namespace {

using SortedJson = nlohmann::json;  // found by name in logarithmic time, however many there are

constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr size_t kMaxDimensions = 32;
constexpr const char* kTensorCrcs = "crc32";
constexpr const char* kHeaderCrc = "crc32_header";

struct Type {
  const char* name;
  int64_t bytes;
  at::ScalarType type;  // Undefined: LibTorch has none
};
// In the order in which the format's library tells types apart; files begin with the last of them.
constexpr Type kTypes[] = {
    {"BOOL", 1, at::kBool},
    {"U8", 1, at::kByte},
    {"I8", 1, at::kChar},
    {"F8_E5M2", 1, at::ScalarType::Undefined},
    {"F8_E4M3", 1, at::ScalarType::Undefined},
    {"I16", 2, at::kShort},
    {"U16", 2, at::ScalarType::Undefined},
    {"F16", 2, at::kHalf},
    {"BF16", 2, at::kBFloat16},
    {"I32", 4, at::kInt},
    {"U32", 4, at::ScalarType::Undefined},
    {"F32", 4, at::kFloat},
    {"F64", 8, at::kDouble},
    {"I64", 8, at::kLong},
    {"U64", 8, at::ScalarType::Undefined},
};

const Type* find_type(const std::string& name) {
  for (const Type& type : kTypes)
    if (name == type.name) return &type;
  return nullptr;
}

struct Entry {
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<int64_t> offsets;
};

/// Reads the header's JSON token by token: depth and sizes are bounded, and a key given twice is
/// seen, which a parsed value would hide.  Throws Error without the file's name.
class HeaderParser final : public nlohmann::json_sax<Json> {
 public:
  std::map<std::string, Entry> tensors;
  std::map<std::string, std::string> metadata;

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a truth value"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a fraction"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ != 3) return unexpected("a number");
    check(value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()), where(),
          ": the number ", value, " is out of range");
    std::vector<int64_t>& list = field_ == "shape" ? entry_.shape : entry_.offsets;
    check(list.size() < (field_ == "shape" ? kMaxDimensions : 2), where(), ": too many numbers");
    list.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (depth_ == 2 && in_metadata())
      check(metadata.emplace(field_, value).second, where(), ": given twice");
    else if (depth_ == 2 && field_ == "dtype")
      entry_.dtype = value;
    else
      return unexpected("a text");
    return true;
  }

  bool start_object(size_t) override {
    if (depth_ > 1) return unexpected("an object");
    ++depth_;
    entry_ = {};
    seen_.clear();
    return true;
  }

  bool end_object() override {
    if (depth_-- == 1 || in_metadata()) return true;
    field_.clear();
    check(seen_.size() == 3, where(), ": needs 'dtype', 'shape' and 'data_offsets'");
    tensors[name_] = std::move(entry_);
    return true;
  }

  bool start_array(size_t) override {
    if (depth_ != 2 || in_metadata() || field_ == "dtype") return unexpected("a list");
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }

  bool key(string_t& value) override {
    if (depth_ == 1) {
      name_ = value;
      field_.clear();
      check(!tensors.contains(name_) && !(in_metadata() && had_metadata_), where(),
            ": given twice");
      had_metadata_ = had_metadata_ || in_metadata();
      return true;
    }
    field_ = value;
    if (in_metadata()) return true;
    check(field_ == "dtype" || field_ == "shape" || field_ == "data_offsets", where(),
          ": unknown key; expected 'dtype', 'shape' and 'data_offsets'");
    check(seen_.insert(field_).second, where(), ": given twice");
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    throw Error("the header is not JSON (byte " + std::to_string(position) + " of it)");
  }

 private:
  bool in_metadata() const { return name_ == "__metadata__"; }
  std::string where() const {
    const std::string name = name_.substr(0, 200);
    return "header, '" + name + "'" + (field_.empty() ? "" : ", '" + field_.substr(0, 200) + "'");
  }
  bool unexpected(const char* what) const {
    if (depth_ == 0) throw Error(std::string("the header is ") + what + "; expected an object");
    throw Error(where() + ": unexpected " + what);
  }

  int depth_ = 0;
  bool had_metadata_ = false;
  std::string name_, field_;
  std::set<std::string> seen_;
  Entry entry_;
};

/// A checked file: every entry has a known type, and the entries tile the data exactly.
struct Opened {
  OwnedBytes source;
  std::string_view data;
  std::map<std::string, Entry> tensors;
  std::map<std::string, std::string> metadata;
};

int64_t entry_bytes(const Entry& entry, const std::string& where) {
  const Type* type = find_type(entry.dtype);
  check(type, where, ": unknown dtype '", entry.dtype.substr(0, 40), "'");
  int64_t strides = type->bytes, bytes = type->bytes;
  for (const int64_t size : entry.shape) {
    // Strides count an empty dimension as 1, and LibTorch computes them: they may not overflow.
    check(!__builtin_mul_overflow(strides, std::max<int64_t>(size, 1), &strides), where,
          ": the shape has more elements than can be addressed");
    bytes *= size;
  }
  return bytes;
}

void check_tiling(const Opened& file, const std::string& path) {
  const uint64_t data_bytes = file.data.size();
  std::vector<std::pair<const std::string*, const Entry*>> order;
  for (const auto& [name, entry] : file.tensors) {
    const std::string where = path + ": tensor '" + name.substr(0, 200) + "'";
    check(entry.offsets.size() == 2 && entry.offsets[0] <= entry.offsets[1], where,
          ": data_offsets must be a begin and an end");
    check(static_cast<uint64_t>(entry.offsets[1]) <= data_bytes, where, ": its data end at byte ",
          entry.offsets[1], ", but the file has only ", data_bytes,
          " bytes of data; it is truncated or damaged");
    const int64_t bytes = entry_bytes(entry, where);
    check(bytes == entry.offsets[1] - entry.offsets[0], where, ": dtype and shape need ", bytes,
          " bytes, data_offsets give ", entry.offsets[1] - entry.offsets[0]);
    order.emplace_back(&name, &entry);
  }
  std::sort(order.begin(), order.end(),
            [](auto& a, auto& b) { return a.second->offsets < b.second->offsets; });
  int64_t end = 0;
  for (const auto& [name, entry] : order) {
    check(entry->offsets[0] == end, path, ": tensor '", name->substr(0, 200),
          "': its data begin at ", entry->offsets[0], ", but the data before it end at ", end,
          entry->offsets[0] < end ? " (overlap)" : " (gap)");
    end = entry->offsets[1];
  }
  check(static_cast<uint64_t>(end) == data_bytes, path, ": ",
        data_bytes - static_cast<uint64_t>(end), " bytes after the last tensor belong to nothing");
}

Opened open_bytes(const OwnedBytes& source, const std::string& path) {
  const size_t size = source.bytes.size();
  check(size >= 8, path, ": has ", size, " bytes; a safetensors file has at least 8");
  uint64_t length = 0;
  for (size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(source.bytes[i]);
  check(length <= size - 8 && length <= kMaxHeader, path, ": its header would have ", length,
        " bytes of a file of ", size, "; it is truncated, or not a safetensors file");
  const std::string_view header = source.bytes.substr(8, length);

  HeaderParser parser;
  // The parser would take a zero byte for the end.
  check(header.find('\0') == std::string_view::npos, path, ": the header has a zero byte in it");
  try {
    Json::sax_parse(header, &parser);
  } catch (const Error& fault) {
    throw Error(path + ": " + fault.what());
  }
  Opened file{source, source.bytes.substr(8 + length), std::move(parser.tensors),
              std::move(parser.metadata)};
  check_tiling(file, path);
  return file;
}

Opened open_file(const std::string& path) {
  const auto mapped = std::make_shared<MappedFile>(path);
  return open_bytes({mapped->bytes(), mapped}, path);
}

at::Tensor read_tensor(const Opened& file, const std::string& name, const Entry& entry,
                       const std::string& path) {
  const Type* type = find_type(entry.dtype);
  check(type->type != at::ScalarType::Undefined, path, ": tensor '", name, "': dtype ", entry.dtype,
        " is not supported here");
  const auto begin = static_cast<size_t>(entry.offsets[0]);
  const std::string_view bytes =
      file.data.substr(begin, static_cast<size_t>(entry.offsets[1]) - begin);
  if (type->type == at::kBool)
    check(std::all_of(bytes.begin(), bytes.end(), [](char b) { return b == 0 || b == 1; }), path,
          ": tensor '", name, "' is BOOL, but has bytes other than 0 and 1");
  return tensor_of(file.source, bytes, entry.shape, type->type);
}

uint32_t crc_of(const void* bytes, size_t count) {
  return static_cast<uint32_t>(crc32_z(0, static_cast<const Bytef*>(bytes), count));
}

std::string hex(uint32_t value) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", value);
  return text;
}

const Type& type_of(const at::Tensor& tensor, const std::string& where) {
  check(tensor.defined() && tensor.layout() == at::kStrided, where,
        ": only ordinary (strided) tensors can be written");
  for (const Type& type : kTypes)
    if (tensor.scalar_type() == type.type) return type;
  throw Error(where + ": the type " + c10::toString(tensor.scalar_type()) +
              " has no name in the safetensors format");
}

/// What is written: tensors in the file's order, on the host.
struct Outgoing {
  std::vector<std::string> names;
  std::vector<at::Tensor> tensors;
  std::vector<Entry> entries;
};

Outgoing outgoing(const std::map<std::string, at::Tensor>& given, const std::string& path) {
  std::vector<std::pair<const Type*, const std::string*>> order;
  for (const auto& [name, tensor] : given) {
    const std::string where = path + ": tensor '" + name + "'";
    check(name != "__metadata__", where, ": this name is the format's own");
    order.emplace_back(&type_of(tensor, where), &name);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  Outgoing out;
  int64_t begin = 0;
  for (const auto& [type, name] : order) {
    out.names.push_back(*name);
    out.tensors.push_back(given.at(*name).detach().cpu().contiguous());
    const int64_t end = begin + static_cast<int64_t>(out.tensors.back().nbytes());
    out.entries.push_back({type->name, out.tensors.back().sizes().vec(), {begin, end}});
    begin = end;
  }
  return out;
}

std::string header_text(const Outgoing& file, const std::map<std::string, std::string>& metadata,
                        const std::string& path) {
  try {
    std::string text;
    if (!metadata.empty()) text += ",\"__metadata__\":" + SortedJson(metadata).dump();
    for (size_t i = 0; i < file.names.size(); ++i) {
      const Entry& entry = file.entries[i];
      text += "," + SortedJson(file.names[i]).dump() + ":{\"dtype\":\"" + entry.dtype +
              "\",\"shape\":" + SortedJson(entry.shape).dump() +
              ",\"data_offsets\":" + SortedJson(entry.offsets).dump() + "}";
    }
    return "{" + text.substr(std::min<size_t>(text.size(), 1)) + "}";
  } catch (const SortedJson::exception& fault) {
    throw Error(path + ": a name or metadata text is not UTF-8: " + fault.what());
  }
}

void write_file(const std::string& path, const Outgoing& file, std::string header) {
  header.resize((header.size() + 7) / 8 * 8, ' ');
  check(header.size() <= kMaxHeader, path, ": the header would have ", header.size(),
        " bytes; the format allows ", kMaxHeader);
  std::array<unsigned char, 8> length;
  for (int i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(header.size() >> (8 * i));
  write_file_atomically(path, [&](const WriteBytes& write) {
    write(length.data(), length.size());
    write(header.data(), header.size());
    for (const at::Tensor& tensor : file.tensors) write(tensor.data_ptr(), tensor.nbytes());
  });
}

/// What the header's checksum covers: everything that the header says but the checksum itself.
std::string covered_header(const std::map<std::string, Entry>& tensors,
                           const std::map<std::string, std::string>& metadata) {
  SortedJson header = SortedJson::object();
  for (const auto& [key, text] : metadata)
    if (key != kHeaderCrc) header["__metadata__"][key] = text;
  for (const auto& [name, entry] : tensors)
    header[name] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", entry.offsets}};
  return header.dump();
}

/// Name -> checksum; refuses nesting before it can cost memory.
SortedJson parse_crcs(const std::string& text, const std::string& path) {
  const auto flat = [&](int depth, SortedJson::parse_event_t, SortedJson&) {
    check(depth <= 1, path, ": its list of checksums is nested");
    return true;
  };
  const SortedJson crcs = SortedJson::parse(text, flat, false);
  check(crcs.is_object(), path, ": its list of checksums is not a JSON object");
  return crcs;
}

}  // namespace

TensorFile parse_safetensors(const OwnedBytes& bytes, const std::string& where) {
  Opened file = open_bytes(bytes, where);
  TensorFile out;
  for (const auto& [name, entry] : file.tensors)
    out.tensors[name] = read_tensor(file, name, entry, where);
  out.metadata = std::move(file.metadata);
  return out;
}

TensorFile read_safetensors(const std::string& path) {
  const auto mapped = std::make_shared<MappedFile>(path);
  TensorFile out = parse_safetensors({mapped->bytes(), mapped}, path);
  mapped->read_ahead();
  return out;
}

TensorFileHeader read_safetensors_header(const std::string& path) {
  Opened file = open_file(path);
  TensorFileHeader out;
  for (auto& [name, entry] : file.tensors)
    out.tensors[name] = {std::move(entry.dtype), std::move(entry.shape)};
  out.metadata = std::move(file.metadata);
  return out;
}

void write_safetensors(const std::string& path, const TensorFile& file) {
  const Outgoing out = outgoing(file.tensors, path);
  write_file(path, out, header_text(out, file.metadata, path));
}

void write_checked_safetensors(const std::string& path, const TensorFile& file) {
  check(!file.metadata.contains(kTensorCrcs) && !file.metadata.contains(kHeaderCrc), path,
        ": the metadata keys '", kTensorCrcs, "' and '", kHeaderCrc, "' hold the checksums");
  const Outgoing out = outgoing(file.tensors, path);
  std::map<std::string, std::string> metadata = file.metadata;
  header_text(out, metadata, path);  // refuses what is not UTF-8 before bytes are read
  SortedJson crcs = SortedJson::object();
  std::map<std::string, Entry> entries;
  for (size_t i = 0; i < out.names.size(); ++i) {
    crcs[out.names[i]] = hex(crc_of(out.tensors[i].data_ptr(), out.tensors[i].nbytes()));
    entries[out.names[i]] = out.entries[i];
  }
  metadata[kTensorCrcs] = crcs.dump();
  const std::string covered = covered_header(entries, metadata);
  metadata[kHeaderCrc] = hex(crc_of(covered.data(), covered.size()));
  write_file(path, out, header_text(out, metadata, path));
}

TensorFile read_checked_safetensors(const std::string& path) {
  Opened file = open_file(path);
  check(file.metadata.contains(kTensorCrcs) && file.metadata.contains(kHeaderCrc), path,
        ": has no checksums ('", kTensorCrcs,
        "' in its metadata); it was not written by tweedie "
        "as a checkpoint, or it is damaged");
  const std::string covered = covered_header(file.tensors, file.metadata);
  check(hex(crc_of(covered.data(), covered.size())) == file.metadata[kHeaderCrc], path,
        ": damaged: the checksum of its header does not match");
  const SortedJson crcs = parse_crcs(file.metadata[kTensorCrcs], path);
  TensorFile out;
  for (const auto& [name, entry] : file.tensors) {
    const at::Tensor tensor = read_tensor(file, name, entry, path);
    const auto crc = crcs.find(name);
    check(crc != crcs.end() && crc->is_string(), path, ": tensor '", name, "' has no checksum");
    check(hex(crc_of(tensor.data_ptr(), tensor.nbytes())) == crc->get<std::string>(), path,
          ": damaged: the checksum of tensor '", name, "' does not match");
    out.tensors[name] = tensor;
  }
  file.metadata.erase(kTensorCrcs);
  file.metadata.erase(kHeaderCrc);
  out.metadata = std::move(file.metadata);
  return out;
}

}  // namespace tweedie
