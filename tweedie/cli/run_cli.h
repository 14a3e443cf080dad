// The program `tweedie`, as a function: give it a registry with your own plug-ins and you have your
// own program.
#pragma once

#include "tweedie/registry.h"

namespace tweedie {

/// Runs one command and returns the exit status: 0 done, 2 the command line or an input was wrong,
/// 1 anything else, 130 interrupted after saving.  Results go to standard output, progress and
/// errors to standard error.
int run_cli(int argc, char** argv, const Registry& registry);

}  // namespace tweedie
