#include "tweedie/cli/threads.h"

#include <ATen/Parallel.h>
#include <sched.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>

namespace tweedie {
namespace {

bool is_set(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

}  // namespace

void restart_with_short_spins(char** argv) {
  if (is_set("GOMP_SPINCOUNT") || is_set("OMP_WAIT_POLICY")) return;
  char program[PATH_MAX];  // by its own name, or process lists would show "exe"
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length <= 0) return;
  program[length] = '\0';
  if (setenv("GOMP_SPINCOUNT", "1000", 1) == 0) execv(program, argv);
}

void use_all_cores() {
  if (is_set("OMP_NUM_THREADS")) return;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  at::set_num_threads(CPU_COUNT(&allowed));
}

}  // namespace tweedie
