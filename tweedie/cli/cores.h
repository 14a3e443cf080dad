// How many threads the program computes with.
#pragma once

namespace tweedie {

/// One thread for every core that this process may run on, unless OMP_NUM_THREADS says otherwise.
/// LibTorch's own count is 1 on some virtual machines.
void use_all_cores();

}  // namespace tweedie
