// Which examples are trained on and which are held out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tweedie/base/json.h"

namespace tweedie {

enum class Split { train, test };

/// Throws Error on another word than "train" or "test".
Split split_named(const std::string& word, const std::string& where);

/// Takes "split" out of the options; without it, train.  Throws Error on another word.
Split take_split(Json& options, const std::string& where);

/// The places of a split of data that has no test part of its own: a fraction `holdout`, chosen
/// once for each size, is the test part.  Throws Error if either part would be empty.
std::vector<int64_t> hold_out(int64_t size, double holdout, Split split, const std::string& where);

}  // namespace tweedie
