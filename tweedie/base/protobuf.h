// Writing protocol buffers: a message is its fields one after the other, a field its number and
// kind, then the value.  (https://protobuf.dev/programming-guides/encoding/)
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace tweedie::protobuf {

inline std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>((value & 127) | 128);
  return out + static_cast<char>(value);
}

/// The value's bytes as they lie in memory (little-endian).
template <class T>
std::string bits(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

inline std::string field(int number, uint64_t value) {
  return varint(static_cast<uint64_t>(number) << 3) + varint(value);
}
/// A string, bytes, or a message in the message.
inline std::string field(int number, std::string_view bytes) {
  std::string out = varint(static_cast<uint64_t>(number) << 3 | 2) + varint(bytes.size());
  return out.append(bytes);
}
inline std::string field(int number, double value) {
  return varint(static_cast<uint64_t>(number) << 3 | 1) + bits(value);
}
inline std::string field(int number, float value) {
  return varint(static_cast<uint64_t>(number) << 3 | 5) + bits(value);
}

}  // namespace tweedie::protobuf
