// The threads that the program computes with.
#pragma once

namespace tweedie {

/// GNU OpenMP's threads spin at every barrier; when another process takes a core that makes a step
/// ten times slower.  The library reads GOMP_SPINCOUNT once, as it is loaded, so this replaces the
/// process by itself with the variable set, unless it or OMP_WAIT_POLICY is set already.  Returns
/// where that cannot be done.
void restart_with_short_spins(char** argv);

/// One thread for every core that this process may run on, unless OMP_NUM_THREADS says otherwise.
/// LibTorch's own count is 1 on some virtual machines.
void use_all_cores();

}  // namespace tweedie
