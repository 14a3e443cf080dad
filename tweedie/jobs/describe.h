// What is in a file, from its own metadata; of weights only names and sizes are looked at.
#pragma once

#include <string>

#include "tweedie/base/json.h"

namespace tweedie {

/// A run folder, a checkpoint, a model of another library or its file of weights alone
/// (.safetensors, .pt, .pth, .bin), a PNG or JPEG (with what a PNG's text says), a .npy file.
/// Throws Error if there is nothing at `path` or nothing known.
Json describe(const std::string& path);

/// The same for people: indented lines, long lists shortened.
std::string describe_in_words(const Json& description);

}  // namespace tweedie
