// The threads that the program computes with.
#pragma once

namespace tweedie {

/// Some libraries read the environment once, as they are loaded: GNU OpenMP, whose threads spin at
/// every barrier, which makes a step ten times slower when another process takes a core; glibc's
/// malloc; OpenBLAS.  This replaces the process by itself with the variables set that are not, and
/// returns where that cannot be done or nothing is to be set.
void restart_with_settings(char** argv);

/// One thread for every core that this process may run on, unless OMP_NUM_THREADS says otherwise.
/// LibTorch's own count is 1 on some virtual machines.
void use_all_cores();

}  // namespace tweedie
