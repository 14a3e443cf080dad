#include "tweedie/cli/cores.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <cstdlib>

namespace tweedie {

void use_all_cores() {
  const char* const asked = std::getenv("OMP_NUM_THREADS");
  if (asked != nullptr && *asked != '\0') return;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  at::set_num_threads(CPU_COUNT(&allowed));
}

}  // namespace tweedie
