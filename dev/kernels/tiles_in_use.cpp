// Why no kernel uses more than six of the eight tiles: products per second of the ways to arrange
// them, all out of the first cache, by one thread and by two.
//
//     cmake --build build --target tiles-in-use && build/tiles-in-use
//
// A pattern is named by its tiles C, and by how many tiles it uses in all.
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "tweedie/kernels/amx_tiles.h"
#include "tweedie/kernels/kernels.h"

using tweedie::kernels::bf16;
using tweedie::kernels::amx_bf16::kTile;
using tweedie::kernels::amx_bf16::TileSession;

namespace {

constexpr int kLoops = 20000;
alignas(64) bf16 data[2][8 * kTile];

#define LOAD(tile, from) _tile_loadd(tile, d + (from)*kTile, 64)
#define MULTIPLY(c, a, b) _tile_dpbf16ps(c, a, b)

struct Pattern {
  const char* name;
  int products;
  void (*run)(const bf16* d);
};

#define PATTERN(name, products, body)                    \
  Pattern {                                              \
    name, products, []([[maybe_unused]] const bf16* d) { \
      const TileSession session;                         \
      for (int i = 0; i < kLoops; ++i) {                 \
        body                                             \
      }                                                  \
    }                                                    \
  }

const Pattern kPatterns[] = {
    PATTERN("2x2, products alone", 4, MULTIPLY(0, 6, 7); MULTIPLY(1, 6, 7); MULTIPLY(2, 6, 7);
            MULTIPLY(3, 6, 7);),
    PATTERN("3x2 in 8", 6, LOAD(7, 0); LOAD(6, 1); MULTIPLY(0, 6, 7); LOAD(6, 2); MULTIPLY(2, 6, 7);
            LOAD(6, 3); MULTIPLY(4, 6, 7); LOAD(7, 4); MULTIPLY(5, 6, 7); LOAD(6, 2);
            MULTIPLY(3, 6, 7); LOAD(6, 1); MULTIPLY(1, 6, 7);),
    PATTERN("2x2 in 8", 4, LOAD(4, 0); LOAD(6, 1); MULTIPLY(0, 4, 6); LOAD(7, 2); MULTIPLY(1, 4, 7);
            LOAD(5, 3); MULTIPLY(2, 5, 6); MULTIPLY(3, 5, 7);),
    PATTERN("2x2 in 7", 4, LOAD(6, 0); LOAD(7, 1); LOAD(5, 2); MULTIPLY(0, 5, 6); MULTIPLY(1, 5, 7);
            LOAD(5, 3); MULTIPLY(2, 5, 6); MULTIPLY(3, 5, 7);),
    PATTERN("2x2 in 6", 4, LOAD(7, 0); LOAD(6, 1); MULTIPLY(0, 6, 7); LOAD(6, 2); MULTIPLY(2, 6, 7);
            LOAD(7, 3); MULTIPLY(3, 6, 7); LOAD(6, 1); MULTIPLY(1, 6, 7);),
    PATTERN("4x1 in 6", 4, LOAD(7, 0); LOAD(6, 1); MULTIPLY(0, 6, 7); LOAD(6, 2); MULTIPLY(1, 6, 7);
            LOAD(6, 3); MULTIPLY(2, 6, 7); LOAD(6, 4); MULTIPLY(3, 6, 7);),
    PATTERN("3x1 in 5", 3, LOAD(7, 0); LOAD(6, 1); MULTIPLY(0, 6, 7); LOAD(6, 2); MULTIPLY(1, 6, 7);
            LOAD(6, 3); MULTIPLY(2, 6, 7);),
    PATTERN("2x1 in 4", 2, LOAD(7, 0); LOAD(6, 1); MULTIPLY(0, 6, 7); LOAD(6, 2);
            MULTIPLY(1, 6, 7);),
};

/// TFLOP/s of so many threads together.
double speed(const Pattern& pattern, int threads) {
  const auto begun = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back([&] { pattern.run(data[1]); });
    pattern.run(data[0]);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  return threads * kLoops * pattern.products * 16384e-12 / took.count();
}

}  // namespace

int main() {
  const auto tables = tweedie::kernels::usable_tables();
  if (std::none_of(tables.begin(), tables.end(), [](const auto* t) { return t->images->fast; })) {
    std::fprintf(stderr, "tiles-in-use: this machine has no AMX\n");
    return 1;
  }
  constexpr int kRounds = 30, kPatternCount = std::size(kPatterns);
  std::vector<double> speeds[2][kPatternCount];
  for (int round = 0; round < kRounds; ++round)
    for (int p = 0; p < kPatternCount; ++p)
      for (int t = 0; t < 2; ++t) speeds[t][p].push_back(speed(kPatterns[p], t + 1));
  std::printf("TFLOP/s: median (least - greatest) of %d rounds\n%-22s %20s %20s\n", kRounds,
              "tiles C, tiles in use", "one thread", "two threads");
  for (int p = 0; p < kPatternCount; ++p) {
    std::printf("%-22s", kPatterns[p].name);
    for (auto& of : speeds) {
      std::sort(of[p].begin(), of[p].end());
      std::printf("   %5.2f (%.2f - %.2f)", of[p][kRounds / 2], of[p].front(), of[p].back());
    }
    std::printf("\n");
  }
}
