// ZIP archives: what .npz files and PyTorch's checkpoints are.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tweedie/base/files.h"

namespace tweedie {

struct ZipEntry {
  std::string name;
  std::string_view stored;  // as it is in the archive
  uint64_t size = 0;        // once it is inflated
  bool deflated = false;
  uint32_t crc = 0;
};

/// What the central directory lists, in its order.  Throws Error, naming `where`, on what is not a
/// whole archive: entries out of it, over one another or named twice, encrypted, in another method
/// than stored and deflated, or that would grow to more than 64 MiB and a hundredfold.
std::vector<ZipEntry> zip_entries(std::string_view archive, const std::string& where);

/// An entry's own bytes, its checksum tested.
std::string inflated(const ZipEntry& entry, const std::string& where);

/// Throws Error if the checksum of an entry that is stored as it is does not match.
void check_stored(const ZipEntry& entry, const std::string& where);

/// One entry to be written: its bytes in parts.
struct ZipPart {
  std::string name;
  std::vector<std::string_view> bytes;
};
/// An archive of entries stored as they are, without times: equal entries give equal bytes.
void write_zip(const WriteBytes& write, const std::vector<ZipPart>& parts);

}  // namespace tweedie
