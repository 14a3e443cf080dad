// One process at a time.
#pragma once

#include <memory>
#include <string>

namespace tweedie {

/// Held as long as it or a copy of it lives; gone with the process, however that ends.
using FileLock = std::shared_ptr<const void>;

/// The lock of the file, which is made if there is none; empty where somebody else holds it, in
/// this process or another.  On file systems without locks everybody gets it.  Throws Error if the
/// file cannot be opened.
FileLock try_lock_file(const std::string& path);

}  // namespace tweedie
