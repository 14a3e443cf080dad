#include "tweedie/samplers/brownian.h"

#include <cmath>

namespace tweedie {
namespace {

constexpr double kQuantum = 0x1p-32;

at::Tensor quantised(const at::Tensor& x) { return (x / kQuantum).round() * kQuantum; }

}  // namespace

BrownianPoint brownian_after(const BrownianPoint& from, double length, const at::Tensor& z) {
  return {from.clock + length, quantised(from.value + std::sqrt(length) * z.to(at::kDouble))};
}

BrownianPoint brownian_between(const BrownianPoint& a, const BrownianPoint& b, double clock,
                               const at::Tensor& z) {
  const double share = (clock - a.clock) / (b.clock - a.clock);
  const double std = std::sqrt((clock - a.clock) * (b.clock - clock) / (b.clock - a.clock));
  return {clock, quantised(a.value + share * (b.value - a.value) + std * z.to(at::kDouble))};
}

}  // namespace tweedie
