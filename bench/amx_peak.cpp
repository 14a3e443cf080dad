// What this machine's AMX units can do: products of bf16 tiles that stay in their registers.
//     c++ -std=c++17 -O2 -pthread bench/amx_peak.cpp -o amx_peak && ./amx_peak [THREADS [SECONDS]]
// Prints JSON: {"amx": true, "threads": 2, "tflops": the best turn's, "tflops_median": ...}.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr int kRows = 16, kRowBytes = 64, kTile = kRows * kRowBytes;
constexpr int kDepth = 8;                            // products in a sum
constexpr double kFlops = 2.0 * kRows * kRows * 32;  // of one product of tiles
constexpr int kPermission = 0x1023, kTileData = 18;  // arch_prctl's request and AMX's state
constexpr double kTurns = 10;                        // in the seconds asked for

/// Every tile 16 rows of 64 bytes.  Static: GCC 12 declares that _tile_loadconfig reads 8 bytes
/// only, and may drop stores to the rest.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {kRowBytes, kRowBytes, kRowBytes, kRowBytes,
                            kRowBytes, kRowBytes, kRowBytes, kRowBytes};
  uint8_t rows[16] = {kRows, kRows, kRows, kRows, kRows, kRows, kRows, kRows};
};
static_assert(sizeof(TileConfig) == 64);
const TileConfig config;

struct alignas(64) Operands {
  uint8_t a[2][kTile], b[2][kTile];
};

bool cpu_has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1) != 0 && (d >> 24 & 1) != 0 &&
         syscall(SYS_arch_prctl, kPermission, kTileData) == 0;
}

void fill(Operands& operands, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  auto* const out = reinterpret_cast<uint16_t*>(&operands);
  for (size_t i = 0; i < sizeof operands / 2; ++i) {
    union {
      float value;
      uint32_t bits;
    } number{normal(engine)};
    out[i] = static_cast<uint16_t>(number.bits >> 16);
  }
}

/// `count` times 2 x 2 tiles, each a sum of kDepth products.
__attribute__((target("amx-tile,amx-bf16"))) void multiply(const Operands& operands, long count,
                                                           float* out) {
  _tile_loadconfig(&config);
  _tile_loadd(4, operands.a[0], kRowBytes);
  _tile_loadd(5, operands.a[1], kRowBytes);
  _tile_loadd(6, operands.b[0], kRowBytes);
  _tile_loadd(7, operands.b[1], kRowBytes);
  for (long i = 0; i < count; ++i) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int k = 0; k < kDepth; ++k) {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, out, kRowBytes);
  _tile_release();
}

using Clock = std::chrono::steady_clock;
double since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

/// Flops a second of each turn of one thread.
void work(unsigned seed, double seconds, std::vector<double>& rates) {
  static thread_local Operands operands;
  alignas(64) float out[kRows * kRows];
  fill(operands, seed);
  long count = 1000;
  for (double took = 0; took < seconds / kTurns;
       count *= 2) {  // how many fill a turn; warms up too
    const auto begun = Clock::now();
    multiply(operands, count, out);
    took = since(begun);
  }
  for (const auto start = Clock::now(); since(start) < seconds || rates.size() < 3;) {
    const auto begun = Clock::now();
    multiply(operands, count, out);
    rates.push_back(static_cast<double>(count) * 4 * kDepth * kFlops / since(begun));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  const unsigned threads = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : cores;
  const double seconds = argc > 2 ? std::atof(argv[2]) : 1;
  if (threads < 1 || threads > 4096 || !(seconds > 0)) {
    std::fprintf(stderr, "usage: amx_peak [THREADS [SECONDS]]\n");
    return 2;
  }
  if (!cpu_has_amx()) {
    std::printf("{\"amx\": false}\n");
    return 0;
  }
  std::vector<std::vector<double>> rates(threads);
  std::vector<std::thread> pool;
  for (unsigned i = 0; i < threads; ++i)
    pool.emplace_back(work, i + 1, seconds, std::ref(rates[i]));
  for (std::thread& thread : pool) thread.join();
  double best = 0, median = 0;
  for (std::vector<double>& each : rates) {
    std::sort(each.begin(), each.end());
    best += each.back();
    median += each[each.size() / 2];
  }
  std::printf("{\"amx\": true, \"threads\": %u, \"tflops\": %.3f, \"tflops_median\": %.3f}\n",
              threads, best / 1e12, median / 1e12);
  return 0;
}

#else

int main() {
  std::printf("{\"amx\": false}\n");
  return 0;
}

#endif
