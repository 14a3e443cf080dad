#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cerrno>
#include <cstdlib>
#include <cstring>
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
namespace amx_bf16 {
extern const ImageTable images;
extern const DenseTable dense;
}  // namespace amx_bf16
#endif

namespace {

#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("fma");
}

/// AMX with bf16, and AVX-512 with what amx_*.cpp uses of it beside.
bool has_amx() {
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;  // CPUID leaf 7, EDX
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx512() && __builtin_cpu_supports("avx512bf16") &&
         __builtin_cpu_supports("avx512vbmi") && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
         (d & kAmxBf16) && (d & kAmxTile);
}

/// Linux gives a process its tiles on request; 0, or errno.
int request_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // asm/prctl.h
  static const int error = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0 ? 0 : errno;
  return error;
}

const Table& amx_table() {
  static const Table table = [] {
    Table t = avx512::table;
    t.name = "amx_bf16";
    t.images = &amx_bf16::images;
    t.dense = &amx_bf16::dense;
    return t;
  }();
  return table;
}
#endif

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
  if (has_avx512()) tables.push_back(&avx512::table);
  if (has_amx() && request_tiles() == 0) tables.push_back(&amx_table());
#endif
  return tables;
}

std::string amx_refusal() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (has_amx() && request_tiles() != 0)
    return "this CPU has AMX, but the system does not let programs use it (" +
           std::string(std::strerror(request_tiles())) + "); falling back to AVX-512";
#endif
  return "";
}

const Table& table() {
  static const Table& chosen = choose();
  return chosen;
}

}  // namespace tweedie::kernels
