#include "tweedie/cli/threads.h"

#include <ATen/Parallel.h>
#include <sched.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <vector>

namespace tweedie {
namespace {

bool is_set(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

struct Setting {
  const char *variable, *value;
};

/// What libraries read once, as they are loaded.
std::vector<Setting> settings() {
  std::vector<Setting> wanted;
  if (!is_set("OMP_WAIT_POLICY")) wanted.push_back({"GOMP_SPINCOUNT", "1000"});
  // Every page of a large tensor costs a fault when it comes fresh from the system; kept, it costs
  // none.  The two thresholds belong together: setting one switches off that glibc adapts both.
  wanted.push_back({"GLIBC_TUNABLES",
                    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:"
                    "glibc.malloc.trim_threshold=4294967296"});
#if defined(__x86_64__)
  // OpenBLAS takes CPUs that are younger than itself for the oldest ones.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    wanted.push_back({"OPENBLAS_CORETYPE", "SKYLAKEX"});
#endif
  return wanted;
}

}  // namespace

void restart_with_settings(char** argv) {
  bool changed = false;
  for (const Setting& setting : settings())
    if (!is_set(setting.variable)) changed |= setenv(setting.variable, setting.value, 1) == 0;
  if (!changed) return;
  char program[PATH_MAX];  // by its own name, or process lists would show "exe"
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length <= 0) return;
  program[length] = '\0';
  execv(program, argv);
}

void use_all_cores() {
  if (is_set("OMP_NUM_THREADS")) return;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  at::set_num_threads(CPU_COUNT(&allowed));
}

}  // namespace tweedie
