// Files written whole or not at all.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace tweedie {

/// The whole file; throws Error (path, reason) if it is missing, a folder, unreadable or larger
/// than `max_bytes`.
std::string read_file(const std::string& path, size_t max_bytes = size_t{1} << 32);

/// Appends bytes to the file being written; throws Error when the disk is full.
using WriteBytes = std::function<void(const void* bytes, size_t count)>;

/// Runs `fill` on a temporary file beside `path`, then fsync, rename, fsync of the folder: `path`
/// holds the old or the new contents at any instant.  Throws Error and removes the temporary file
/// if anything fails.
void write_file_atomically(const std::string& path,
                           const std::function<void(const WriteBytes&)>& fill);
void write_file_atomically(const std::string& path, std::string_view contents);

}  // namespace tweedie
