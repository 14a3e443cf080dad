// What the number of an option may be.
#pragma once

#include <CLI/CLI.hpp>

namespace tweedie {

/// A finite number above 0.
const CLI::Validator& positive();
/// A finite number of 0 or more.
const CLI::Validator& non_negative();

}  // namespace tweedie
