#include "tweedie/datasets/tar_index.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <unordered_map>

#include "tweedie/base/error.h"
#include "tweedie/base/mapped_file.h"

namespace tweedie {
namespace {

constexpr size_t kBlock = 512, kMaxName = 1 << 20;

std::string_view text_field(std::string_view block, size_t at, size_t width) {
  const std::string_view field = block.substr(at, width);
  return field.substr(0, field.find('\0'));
}

/// Octal digits, or GNU's binary numbers, whose first bit is set.
uint64_t number_field(std::string_view block, size_t at, size_t width, const std::string& where) {
  uint64_t value = 0;
  if (static_cast<unsigned char>(block[at]) & 0x80) {
    for (size_t i = width - 8; i < width; ++i)
      value = value << 8 | static_cast<unsigned char>(block[at + i]);
    return value;
  }
  for (const char c : text_field(block, at, width)) {
    if (c == ' ') continue;
    check(c >= '0' && c <= '7', where, "a number is not octal");
    check(value < uint64_t{1} << 60, where, "a number is out of range");
    value = value * 8 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

/// The sum of the header's bytes, its own field counted as spaces.
bool checksum_holds(std::string_view block, const std::string& where) {
  uint64_t sum = 0;
  for (size_t i = 0; i < kBlock; ++i)
    sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(block[i]);
  return sum == number_field(block, 148, 8, where);
}

/// "path" of a pax header: lines "LENGTH KEY=VALUE\n".
std::string pax_path(std::string_view records) {
  std::string out;
  while (!records.empty()) {
    size_t length = 0;
    const auto [end, error] =
        std::from_chars(records.data(), records.data() + records.size(), length);
    const auto digits = static_cast<size_t>(end - records.data());
    if (error != std::errc() || length <= digits + 1 || length > records.size()) return out;
    const std::string_view record = records.substr(digits + 1, length - digits - 2);
    if (record.starts_with("path=")) out = record.substr(5);
    records.remove_prefix(length);
  }
  return out;
}

/// WebDataset: the key ends at the first dot of the last part of the name.
struct KeyAndEnding {
  std::string key, ending;
};

KeyAndEnding split_name(std::string_view name) {
  const size_t slash = name.rfind('/'), base = slash == std::string_view::npos ? 0 : slash + 1;
  const size_t dot = name.find('.', base);
  if (dot == std::string_view::npos) return {std::string(name), ""};
  std::string ending(name.substr(dot + 1));
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  return {std::string(name.substr(0, dot)), ending};
}

}  // namespace

void add_tar_images(const std::string& path, int32_t shard, std::vector<TarEntry>& images) {
  const MappedFile file(path);
  const std::string_view bytes = file.bytes();
  check(!bytes.starts_with("\x1f\x8b") && !bytes.starts_with("\x28\xb5\x2f\xfd"), path,
        ": is compressed; images are read where they lie in a shard: unpack it with gunzip or "
        "unzstd");
  std::string long_name, key;  // the key of the sample that is being read
  size_t begun = images.size();
  int32_t label = -1;
  const auto finish = [&] {
    for (; begun < images.size(); ++begun) images[begun].label = label;
    label = -1;
  };
  bool ended = false;
  size_t at = 0;
  while (at + kBlock <= bytes.size()) {
    const std::string_view block = bytes.substr(at, kBlock);
    ended = block.find_first_not_of('\0') == std::string_view::npos;
    if (ended) break;
    const std::string where = path + ", byte " + std::to_string(at) + ": damaged tar file: ";
    check(checksum_holds(block, where), where, "a header's checksum does not match");
    const uint64_t size = number_field(block, 124, 12, where);
    const size_t begin = at + kBlock;
    check(size <= bytes.size() - begin, where, "an entry of ", size, " bytes, the file has ",
          bytes.size() - begin, " more");
    const std::string_view content = bytes.substr(begin, size);
    const char kind = block[156];
    check((kind != 'L' && kind != 'x') || size <= kMaxName, where, "a name of ", size, " bytes");
    if (kind == 'L') {
      long_name = content.substr(0, content.find('\0'));
    } else if (kind == 'x') {
      long_name = pax_path(content);
    } else {
      std::string name = long_name;
      if (name.empty()) {
        const std::string prefix(text_field(block, 345, 155));
        name = (prefix.empty() ? "" : prefix + "/") + std::string(text_field(block, 0, 100));
      }
      long_name.clear();
      if (kind == '0' || kind == '\0') {
        const KeyAndEnding parts = split_name(name);
        if (parts.key != key) {
          finish();
          key = parts.key;
        }
        if (parts.ending == "png" || parts.ending == "jpg" || parts.ending == "jpeg") {
          check(size < uint64_t{1} << 32, where, "an image of ", size, " bytes");
          images.push_back({begin, static_cast<uint32_t>(size), shard, -1});
        } else if (parts.ending == "cls") {
          const auto [end, error] =
              std::from_chars(content.data(), content.data() + content.size(), label);
          const std::string_view rest(end,
                                      static_cast<size_t>(content.data() + content.size() - end));
          check(error == std::errc() && label >= 0 && label < 65536 &&
                    rest.find_first_not_of(" \n\r\t") == std::string_view::npos,
                path, ": ", name.substr(0, 200), ": a class is a number from 0 to 65535, got '",
                content.substr(0, 20), "'");
        }
      }
    }
    at = begin + (size + kBlock - 1) / kBlock * kBlock;
  }
  check(ended || at == bytes.size(), path, ": ends within an entry or a header, at byte ",
        bytes.size(), "; it is truncated");
  finish();
}

}  // namespace tweedie
