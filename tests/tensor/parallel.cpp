#include "tweedie/tensor/parallel.h"

#include <doctest/doctest.h>

#include <vector>

using namespace tweedie;

TEST_CASE("every part of a work is done once, with any number of threads") {
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3, 7}) {
    at::set_num_threads(threads);
    for (const int64_t parts : {0, 1, 2, 5, 64, 1000}) {
      CAPTURE(threads);
      CAPTURE(parts);
      std::vector<std::atomic<int>> done(static_cast<size_t>(parts));
      in_parallel(parts, [&](int64_t part) { ++done[static_cast<size_t>(part)]; });
      int wrong = 0;
      for (const auto& count : done) wrong += count != 1;
      CHECK(wrong == 0);
    }
  }
  at::set_num_threads(before);
}

TEST_CASE("a work inside a part of another is done by one thread") {
  std::atomic<int> done = 0, threads = 0;
  in_parallel(4, [&](int64_t) {
    const int self = omp_get_thread_num();
    in_parallel(8, [&](int64_t) {
      ++done;
      threads += omp_get_thread_num() != self;
    });
  });
  CHECK(done == 32);
  CHECK(threads == 0);
}
