// The optimiser's pass over 35.7 million parameters and one average, against the memory's bound:
// the same nine streams, five read and four of them written back, with one addition each.
//
//     cmake --build build --target optimiser-pass && build/optimiser-pass [THREADS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "tweedie/kernels/kernels.h"

using namespace tweedie;

namespace {

constexpr int64_t kCount = 35'700'000;
constexpr int kRounds = 15;

struct Buffers {
  std::vector<float> weight, gradient, first, second, average;
  Buffers()
      : weight(kCount, 0.5F),
        gradient(kCount, 0.1F),
        first(kCount, 0.0F),
        second(kCount, 1.0F),
        average(kCount, 0.5F) {}
};

/// Milliseconds of pass(begin, end) over all parameters, shared out among threads.
template <class Pass>
double milliseconds(int threads, const Pass& pass) {
  const auto begun = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> others;
    for (int t = 0; t < threads; ++t)
      others.emplace_back([&, t] { pass(kCount * t / threads, kCount * (t + 1) / threads); });
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count() * 1e3;
}

void stream(Buffers& b, int64_t begin, int64_t end) {
  float *w = b.weight.data(), *g = b.gradient.data(), *m = b.first.data(), *v = b.second.data(),
        *a = b.average.data();
  for (int64_t i = begin; i < end; ++i) {
    const float add = g[i];
    w[i] += add;
    m[i] += add;
    v[i] += add;
    a[i] += add;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1]))
                               : static_cast<int>(std::thread::hardware_concurrency());
  Buffers b;
  const kernels::AdamStep step{1, 0.9F, 0.999F, 1e-4F, 1, 1e-8F, 0, 0};
  const auto adam = [&](int64_t begin, int64_t end) {
    const kernels::Average average{b.average.data() + begin, 0.999F};
    kernels::table().adam(step, end - begin, b.weight.data() + begin, b.gradient.data() + begin,
                          b.first.data() + begin, b.second.data() + begin, &average, 1);
  };
  std::vector<double> ours, bound, ratios;
  for (int round = 0; round < kRounds; ++round) {
    bound.push_back(milliseconds(threads, [&](int64_t i, int64_t end) { stream(b, i, end); }));
    ours.push_back(milliseconds(threads, adam));
    ratios.push_back(ours.back() / bound.back());
  }
  for (auto* values : {&ours, &bound, &ratios}) std::sort(values->begin(), values->end());
  std::printf(
      "Adam and one average, %d threads: %.1f ms (best %.1f); the memory's bound %.1f (%.1f); "
      "ratio of a round %.2f (%.2f to %.2f)\n",
      threads, ours[kRounds / 2], ours[0], bound[kRounds / 2], bound[0], ratios[kRounds / 2],
      ratios.front(), ratios.back());
}
