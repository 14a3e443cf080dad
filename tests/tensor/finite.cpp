#include "tweedie/tensor/finite.h"

#include <doctest/doctest.h>

#include <limits>

using namespace tweedie;

TEST_CASE("one value that is no number is found wherever it is") {
  const double most = std::numeric_limits<float>::max(),
               infinity = std::numeric_limits<double>::infinity();
  for (const at::ScalarType type : {at::kFloat, at::kDouble})
    for (const int64_t size : {1, 15, 16, 17, 40, (1 << 16) + 3, 3 << 16}) {
      const at::Tensor x = at::full({size}, most, type);
      CHECK(all_finite(x));
      for (const double wrong : {infinity, -infinity, std::nan("")})
        for (const int64_t place : {int64_t{0}, size / 2, size - 1}) {
          const double before = x[place].item<double>();
          x[place] = wrong;
          CHECK_FALSE(all_finite(x));
          x[place] = before;
        }
      x[size - 1] = -most;
      CHECK(all_finite(x));
    }
}

TEST_CASE("only elements of the tensor count, not what lies between them") {
  const at::Tensor x = at::zeros({4, 6});
  x[1][3] = std::nan("");
  CHECK(all_finite(x.narrow(1, 0, 3)));
  CHECK_FALSE(all_finite(x.t()));
  CHECK(all_finite(at::empty({0})));
}
