#include "tweedie/jobs/event_log.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/base/protobuf.h"
#include "tweedie/tensor/image.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

std::string little(uint64_t value, size_t width) {
  std::string out;
  for (size_t i = 0; i < width; ++i) out += static_cast<char>(value >> (8 * i) & 255);
  return out;
}

using protobuf::field;

uint32_t masked(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8; }

std::string record(const std::string& event) {
  const std::string length = little(event.size(), 8);
  return length + little(masked(crc32c(length)), 4) + event + little(masked(crc32c(event)), 4);
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// How many bytes of the file are whole records.
uint64_t whole_records(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code ignored;
  const uint64_t size = fs::file_size(path, ignored);
  uint64_t at = 0;
  for (std::string length(8, '\0'); file.read(length.data(), 8);) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, length.data(), 8);
    if (bytes > size || at + bytes + 16 > size) break;
    at += bytes + 16;
    file.seekg(static_cast<std::streamoff>(at));
  }
  return at;
}

}  // namespace

uint32_t crc32c(const std::string& bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> out{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) ? 0x82f63b78 : 0);
      out[i] = value;
    }
    return out;
  }();
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes)
    crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(byte)) & 255];
  return ~crc;
}

EventLog::EventLog(const std::string& folder)
    : path_((fs::path(folder) / "events.out.tfevents.0.tweedie").string()) {
  std::error_code ignored;
  if (!fs::exists(path_, ignored))
    write_file_atomically(path_, record(field(1, seconds_now()) + field(3, "brain.Event:2")));
}

void EventLog::append(int64_t step, const std::string& what) {
  const std::string event = field(1, seconds_now()) + field(2, static_cast<uint64_t>(step)) + what;
  std::ofstream file(path_, std::ios::binary | std::ios::app);
  file << record(event);
  file.flush();
  check(file.good(), path_, ": cannot be written: ", std::strerror(errno));
}

void EventLog::restart(int64_t step) {
  std::error_code failure;
  fs::resize_file(path_, whole_records(path_), failure);
  check(!failure, path_, ": cannot be continued: ", failure.message());
  constexpr uint64_t kStart = 1;
  append(step, field(7, field(1, kStart)));
}

void EventLog::scalars(int64_t step, const Json& line) {
  std::string values;
  const auto add = [&](const std::string& tag, const Json& value) {
    if (value.is_number()) values += field(1, field(1, tag) + field(2, value.get<float>()));
  };
  for (const auto& [key, value] : line.items()) {
    if (key == "step") continue;
    add(key, value);
    if (value.is_array())
      for (size_t i = 0; i < value.size(); ++i) add(key + "/" + std::to_string(i + 1), value[i]);
  }
  append(step, field(5, values));
}

void EventLog::image(int64_t step, const std::string& tag, const at::Tensor& pixels) {
  const std::string png = encode_png(pixels);
  const std::string image = field(1, static_cast<uint64_t>(pixels.size(1))) +
                            field(2, static_cast<uint64_t>(pixels.size(2))) +
                            field(3, static_cast<uint64_t>(pixels.size(0))) + field(4, png);
  append(step, field(5, field(1, field(1, tag) + field(4, image))));
}

}  // namespace tweedie
