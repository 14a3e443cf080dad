#include "tweedie/metrics/rows.h"

#include "tweedie/base/error.h"
#include "tweedie/base/spread.h"
#include "tweedie/tensor/finite.h"
#include "tweedie/tensor/random.h"

namespace tweedie {

Tensor as_rows(const Tensor& examples, const std::string& what, int64_t least) {
  check(examples.dim() >= 2, what, ": expected examples [N, ...], got shape ", examples.sizes());
  check(examples.size(0) >= least, what, ": has ", examples.size(0), " examples; expected ", least,
        " or more");
  const Tensor rows = examples.detach().to(at::kCPU, at::kDouble).flatten(1).contiguous();
  check(rows.size(1) >= 1, what, ": its examples have no values (shape ", examples.sizes(), ")");
  check(all_finite(rows), what, ": has values that are not finite");
  return rows;
}

void check_comparable(const Tensor& a, const Tensor& b, const std::string& metric) {
  check(a.size(1) == b.size(1), metric, ": the sets have examples of ", a.size(1), " and ",
        b.size(1), " values; give the same kind of data");
}

TwoSamples as_two_samples(const Tensor& a, const Tensor& b, const std::string& metric) {
  const TwoSamples rows{as_rows(a, metric + ": the first set"),
                        as_rows(b, metric + ": the second set")};
  check_comparable(rows.a, rows.b, metric);
  return rows;
}

Tensor spread_rows(const Tensor& rows, int64_t count) {
  if (count >= rows.size(0)) return rows;
  return rows.index_select(0, at::tensor(spread_places(count, rows.size(0)), at::kLong));
}

Tensor random_order(uint64_t seed, int64_t number, int64_t size) {
  return keyed_uniform({seed, Stream::evaluation}, {number}, 0, {size}).flatten().argsort();
}

}  // namespace tweedie
