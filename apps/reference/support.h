// Whether a configuration holds only what this program understands: what it does not is a reason
// to skip the case, never to pass it.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/json.h"

namespace tweedie::reference {

/// Why a case is skipped; empty if it is not.
using Refusal = std::string;

/// A key of `table` that is none of `known`.
Refusal unknown_keys(const std::string& where, const Json& table,
                     const std::vector<std::string>& known);
/// A text that is none of `known`; a missing or null one is the peer's default.
Refusal other_value(const std::string& key, const Json& table,
                    const std::vector<std::string>& known);
Refusal first_refusal(const std::vector<Refusal>& refusals);

/// "" where the text is missing or null.
std::string text_or_empty(const Json& table, const std::string& key);

}  // namespace tweedie::reference
