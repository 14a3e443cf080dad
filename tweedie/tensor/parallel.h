// Parts of a work, given to threads as they become free.
#pragma once

#include <ATen/Parallel.h>

#include <cstdint>

namespace tweedie {

/// work(part) for 0 <= part < parts, each once.  Parts must not depend on one another, so that the
/// result does not depend on the number of threads.  Whoever is free takes the next one: a thread
/// that lost its core to another process holds up no more than its own part.
template <class Work>
void in_parallel(int64_t parts, const Work& work) {
  if (parts <= 1 || at::get_num_threads() == 1 || at::in_parallel_region()) {
    for (int64_t part = 0; part < parts; ++part) work(part);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(at::get_num_threads())
  for (int64_t part = 0; part < parts; ++part) work(part);
}

}  // namespace tweedie
