#include "tweedie/tensor/zip.h"

#include <algorithm>
#include <set>

#include <zlib.h>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

// PKWARE's APPNOTE.TXT, 4.3 and 4.5.
constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50,
                   kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56,
                 kLocator64Bytes = 20;
constexpr uint64_t kSmall = 64 << 20, kMaxGrowth = 100;

/// Little-endian numbers out of bytes; past their end is an error.
class Archive {
 public:
  Archive(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  uint64_t number(uint64_t at, size_t width) const {
    const std::string_view part = piece(at, width);
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;) value = value << 8 | static_cast<unsigned char>(part[i]);
    return value;
  }
  std::string_view piece(uint64_t at, uint64_t count) const {
    check(at <= bytes_.size() && count <= bytes_.size() - at, where_,
          ": damaged or truncated archive: something would begin at byte ", at, " and have ", count,
          " bytes, the file has ", bytes_.size());
    return bytes_.substr(at, count);
  }
  uint64_t size() const { return bytes_.size(); }
  const std::string& where() const { return where_; }

 private:
  std::string_view bytes_;
  const std::string& where_;
};

struct Directory {
  uint64_t begin, bytes, entries;
};

Directory find_directory(const Archive& file) {
  check(file.size() >= kEndBytes, file.where(), ": is no ZIP archive");
  // The end record has a comment of at most 65535 bytes behind it.
  const uint64_t first = file.size() - std::min<uint64_t>(file.size(), kEndBytes + 65535);
  uint64_t end = file.size() - kEndBytes;
  while (file.number(end, 4) != kEnd || file.number(end + 20, 2) != file.size() - end - kEndBytes) {
    check(end > first, file.where(), ": is no ZIP archive, or its end is missing");
    --end;
  }
  Directory out{file.number(end + 16, 4), file.number(end + 12, 4), file.number(end + 10, 2)};
  if (end >= kLocator64Bytes && file.number(end - kLocator64Bytes, 4) == kLocator64) {
    const uint64_t end64 = file.number(end - kLocator64Bytes + 8, 8);
    file.piece(end64, kEnd64Bytes);
    check(file.number(end64, 4) == kEnd64, file.where(),
          ": damaged archive: its 64-bit end record "
          "is not where it should be");
    out = {file.number(end64 + 48, 8), file.number(end64 + 40, 8), file.number(end64 + 32, 8)};
  }
  file.piece(out.begin, out.bytes);
  check(out.entries <= out.bytes / kCentralBytes, file.where(), ": damaged archive: ", out.entries,
        " entries do not fit in a directory of ", out.bytes, " bytes");
  return out;
}

/// Sizes and place of an entry; the extra field has those that do not fit in 32 bits.
struct Extent {
  uint64_t size, stored, local;
};

Extent extent_of(const Archive& file, uint64_t at, uint64_t extra, uint64_t extra_bytes) {
  Extent out{file.number(at + 24, 4), file.number(at + 20, 4), file.number(at + 42, 4)};
  for (uint64_t i = extra; i + 4 <= extra + extra_bytes;) {
    const uint64_t kind = file.number(i, 2), bytes = file.number(i + 2, 2);
    uint64_t field = i + 4;
    const uint64_t field_end = std::min(field + bytes, extra + extra_bytes);
    if (kind == 1)
      for (uint64_t* value : {&out.size, &out.stored, &out.local})
        if (*value == 0xffffffff && field + 8 <= field_end) {
          *value = file.number(field, 8);
          field += 8;
        }
    i += 4 + bytes;
  }
  return out;
}

void check_apart(std::vector<ZipEntry> entries, const std::string& where) {
  std::sort(entries.begin(), entries.end(),
            [](const ZipEntry& a, const ZipEntry& b) { return a.stored.data() < b.stored.data(); });
  for (size_t i = 1; i < entries.size(); ++i)
    check(entries[i - 1].stored.data() + entries[i - 1].stored.size() <= entries[i].stored.data(),
          where, ": the entries '", entries[i - 1].name.substr(0, 200), "' and '",
          entries[i].name.substr(0, 200), "' overlap");
}

std::string number_text(uint64_t value, size_t width) {
  std::string out;
  for (size_t i = 0; i < width; ++i) out += static_cast<char>(value >> (8 * i) & 255);
  return out;
}

}  // namespace

std::vector<ZipEntry> zip_entries(std::string_view archive, const std::string& where) {
  const Archive file(archive, where);
  const Directory directory = find_directory(file);
  std::vector<ZipEntry> out;
  std::set<std::string> names;
  uint64_t at = directory.begin;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    check(file.number(at, 4) == kCentral, where, ": damaged archive: entry ", i,
          " of its directory is none");
    file.piece(at, kCentralBytes);
    const uint64_t flags = file.number(at + 8, 2), method = file.number(at + 10, 2);
    const uint64_t name_bytes = file.number(at + 28, 2), extra_bytes = file.number(at + 30, 2),
                   comment_bytes = file.number(at + 32, 2);
    ZipEntry entry;
    entry.name = file.piece(at + kCentralBytes, name_bytes);
    const std::string place = where + ": '" + entry.name.substr(0, 200) + "'";
    check(names.insert(entry.name).second, place, ": is in the archive twice");
    check((flags & 1) == 0, place, ": is encrypted");
    check(method == 0 || method == 8, place, ": is compressed by method ", method,
          "; stored (0) and deflated (8) entries are read");
    const Extent extent = extent_of(file, at, at + kCentralBytes + name_bytes, extra_bytes);
    entry.size = extent.size;
    entry.deflated = method == 8;
    entry.crc = static_cast<uint32_t>(file.number(at + 16, 4));
    file.piece(extent.local, kLocalBytes);
    check(file.number(extent.local, 4) == kLocal, place, ": damaged archive: it is not at byte ",
          extent.local);
    entry.stored = file.piece(extent.local + kLocalBytes + file.number(extent.local + 26, 2) +
                                  file.number(extent.local + 28, 2),
                              extent.stored);
    check(entry.deflated || entry.size == entry.stored.size(), place,
          ": stored as it is, but its two sizes differ");
    out.push_back(std::move(entry));
    at += kCentralBytes + name_bytes + extra_bytes + comment_bytes;
  }
  check_apart(out, where);
  uint64_t grown = 0;
  for (const ZipEntry& entry : out)
    if (entry.deflated && __builtin_add_overflow(grown, entry.size, &grown)) grown = UINT64_MAX;
  check(grown <= std::max(kSmall, kMaxGrowth * archive.size()), where, ": its ", archive.size(),
        " bytes would grow to ", grown, "; more than 64 MiB and a hundredfold is refused");
  return out;
}

void check_stored(const ZipEntry& entry, const std::string& where) {
  const auto* const data = reinterpret_cast<const Bytef*>(entry.stored.data());
  check(crc32_z(0, data, entry.stored.size()) == entry.crc, where, ": '", entry.name.substr(0, 200),
        "' is damaged: its checksum does not match");
}

std::string inflated(const ZipEntry& entry, const std::string& where) {
  const std::string place = where + ": '" + entry.name.substr(0, 200) + "'";
  std::string out;
  if (!entry.deflated) {
    out = entry.stored;
  } else {
    out.resize(entry.size);
    z_stream stream{};
    check(inflateInit2(&stream, -MAX_WBITS) == Z_OK, place, ": zlib does not start");
    int state = Z_OK;
    for (size_t in = 0, made = 0; state == Z_OK;) {
      // zlib counts in 32 bits.
      constexpr size_t kPart = 1 << 30;
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(entry.stored.data() + in));
      stream.avail_in = static_cast<uInt>(std::min(kPart, entry.stored.size() - in));
      stream.next_out = reinterpret_cast<Bytef*>(out.data() + made);
      stream.avail_out = static_cast<uInt>(std::min(kPart, out.size() - made));
      const uInt given = stream.avail_in, room = stream.avail_out;
      state = inflate(&stream, Z_NO_FLUSH);
      in += given - stream.avail_in;
      made += room - stream.avail_out;
    }
    const bool whole = state == Z_STREAM_END && stream.total_out == entry.size;
    inflateEnd(&stream);
    check(whole, place, ": is damaged: it does not inflate to the ", entry.size,
          " bytes that it should have");
  }
  check(crc32_z(0, reinterpret_cast<const Bytef*>(out.data()), out.size()) == entry.crc, place,
        ": is damaged: its checksum does not match");
  return out;
}

void write_zip(const WriteBytes& write, const std::vector<ZipPart>& parts) {
  uint64_t at = 0;
  const auto put = [&](std::string_view bytes) {
    write(bytes.data(), bytes.size());
    at += bytes.size();
  };
  std::string directory;
  for (const ZipPart& part : parts) {
    uint64_t size = 0;
    uLong crc = 0;
    for (const std::string_view bytes : part.bytes) {
      size += bytes.size();
      crc = crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
    }
    // Version 4.5 for 64-bit sizes, no flags, stored, 1980-01-01 00:00.
    const std::string kind = number_text(45, 2) + number_text(1 << 11, 2) + number_text(0, 4) +
                             number_text(0x21, 2) + number_text(crc, 4) +
                             number_text(0xffffffff, 4) + number_text(0xffffffff, 4) +
                             number_text(part.name.size(), 2);
    const std::string sizes = number_text(size, 8) + number_text(size, 8);
    directory += number_text(kCentral, 4) + number_text(45, 2) + kind + number_text(28, 2) +
                 std::string(10, '\0') + number_text(0xffffffff, 4) + part.name +
                 number_text(1, 2) + number_text(24, 2) + sizes + number_text(at, 8);
    put(number_text(kLocal, 4) + kind + number_text(20, 2) + part.name + number_text(1, 2) +
        number_text(16, 2) + sizes);
    for (const std::string_view bytes : part.bytes) put(bytes);
  }
  const uint64_t begin = at;
  put(directory);
  const uint64_t end64 = at;
  put(number_text(kEnd64, 4) + number_text(44, 8) + number_text(45, 2) + number_text(45, 2) +
      number_text(0, 8) + number_text(parts.size(), 8) + number_text(parts.size(), 8) +
      number_text(directory.size(), 8) + number_text(begin, 8));
  put(number_text(kLocator64, 4) + number_text(0, 4) + number_text(end64, 8) + number_text(1, 4));
  put(number_text(kEnd, 4) + number_text(0, 4) +
      number_text(std::min<uint64_t>(parts.size(), 0xffff), 2) +
      number_text(std::min<uint64_t>(parts.size(), 0xffff), 2) + number_text(0xffffffff, 4) +
      number_text(0xffffffff, 4) + number_text(0, 2));
}

}  // namespace tweedie
