// Group B: how each peer's cases are checked.
#pragma once

#include "checker.h"

namespace tweedie::reference {

// Every tensor of the case is an output that is compared, an input by its name, or a failure.
void check_add_noise(const Case& the_case, Checker& checker);
void check_improved_q(const Case& the_case, Checker& checker);
void check_score_sde(const Case& the_case, Checker& checker);

}  // namespace tweedie::reference
