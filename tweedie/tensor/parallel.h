// Parts of a work, given to threads as they become free.
#pragma once

#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace tweedie {

/// work(part) for 0 <= part < parts, each once.  Parts must not depend on one another, so that the
/// result does not depend on the number of threads.  Every thread has a range of parts of its own,
/// which it takes one after the other, and then helps the others with theirs: it finds in its cache
/// what the last part left there, and a thread that lost its core to another process holds up no
/// more than one part.
template <class Work>
void in_parallel(int64_t parts, const Work& work) {
  if (parts <= 1 || at::get_num_threads() == 1 || at::in_parallel_region()) {
    for (int64_t part = 0; part < parts; ++part) work(part);
    return;
  }
  constexpr int64_t kMostRanges = 64;
  struct alignas(64) Range {
    std::atomic<int64_t> taken = 0;
  } ranges[kMostRanges];
  const int64_t count = std::min<int64_t>({at::get_num_threads(), kMostRanges, parts});
#pragma omp parallel num_threads(at::get_num_threads())
  for (int64_t i = 0; i < count; ++i) {
    const int64_t range = (omp_get_thread_num() + i) % count, begin = parts * range / count,
                  end = parts * (range + 1) / count;
    for (int64_t part; (part = begin + ranges[range].taken++) < end;) work(part);
  }
}

}  // namespace tweedie
