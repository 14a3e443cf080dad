#include <cstdlib>
#include <stdexcept>

#include "tweedie/kernels/kernels.h"

namespace tweedie::kernels {

namespace plain {
extern const Table table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Table table;
}
namespace avx512 {
extern const Table table;
}
#endif

namespace {

const Table& choose() {
  const std::vector<const Table*> usable = usable_tables();
  const char* const asked = std::getenv("TWEEDIE_KERNELS");
  if (asked == nullptr || *asked == '\0') return *usable.back();
  std::string names;
  for (const Table* table : usable) {
    if (table->name == std::string(asked)) return *table;
    names += std::string(names.empty() ? "" : ", ") + table->name;
  }
  throw std::invalid_argument("TWEEDIE_KERNELS=" + std::string(asked) + ": this CPU runs " + names +
                              "; name one of them or leave it unset");
}

}  // namespace

std::vector<const Table*> usable_tables() {
  std::vector<const Table*> tables = {&plain::table};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    tables.push_back(&avx2::table);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("fma"))
    tables.push_back(&avx512::table);
#endif
  return tables;
}

const Table& table() {
  static const Table& chosen = choose();
  return chosen;
}

}  // namespace tweedie::kernels
