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
/// A key of `table` among `keys` that is set: neither missing nor null nor false.
Refusal switched_on(const Json& table, const std::vector<std::string>& keys);
Refusal first_refusal(const std::vector<Refusal>& refusals);

/// "" where the text is missing or null.
std::string text_or_empty(const Json& table, const std::string& key);

}  // namespace tweedie::reference
