// Coverage for libFuzzer from GCC, which compiles LibTorch 1.13 as C++20 where clang does not.  GCC
// calls a function at every block; libFuzzer reads counters of blocks.  This file itself is
// compiled without coverage and sanitizers.
#include <cstdint>

extern "C" void __sanitizer_cov_8bit_counters_init(uint8_t* begin, uint8_t* end);

static uint8_t counters[1 << 16];

extern "C" void __sanitizer_cov_trace_pc() {
  const auto block = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  ++counters[(block * 0x9E3779B97F4A7C15u) >> 48];
}

// Comparisons of real numbers, of which libFuzzer makes nothing.
extern "C" void __sanitizer_cov_trace_cmpf(float, float) {}
extern "C" void __sanitizer_cov_trace_cmpd(double, double) {}

static const bool registered = [] {
  __sanitizer_cov_8bit_counters_init(counters, counters + sizeof(counters));
  return true;
}();
