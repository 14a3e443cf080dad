// What is in a file, from its own metadata; nothing is loaded but headers.
#pragma once

#include <string>

#include "tweedie/base/json.h"

namespace tweedie {

/// A run folder, a checkpoint, any .safetensors, a PNG or JPEG (with what a PNG's text says), a
/// .npy file. Throws Error if there is nothing at `path` or nothing known.
Json describe(const std::string& path);

/// The same for people: indented lines, long lists shortened.
std::string describe_in_words(const Json& description);

}  // namespace tweedie
