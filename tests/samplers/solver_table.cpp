// Prints the measured orders of every sampler as a table for docs/solvers.md.
#include <cstdio>

#include "tests/samplers/orders.h"

int main() {
  using namespace tweedie::testing;
  std::printf(
      "| sampler | options | measured on | steps | error | order | theory "
      "|\n|---|---|---|---|---|---|---|\n");
  for (const OrderCase& one : order_cases()) {
    const MeasuredOrder result = measure(one);
    std::printf("| `%s` | `%s` | %s | %lld .. %lld |", one.name.c_str(), one.options.c_str(),
                one.stochastic ? "variance" : "flow", static_cast<long long>(result.steps.front()),
                static_cast<long long>(result.steps.back()));
    for (const double error : result.errors) std::printf(" %.1e", error);
    std::printf(" | %.2f | %g |\n", result.slope, one.order);
  }
}
