// The Brownian path behind a stochastic sampler's noise, refined where steps are halved.
#pragma once

#include <ATen/ATen.h>

namespace tweedie {

/// A value of the path at a time of its clock; doubles, all multiples of 2^-32, so that differences
/// and their sums are exact.
struct BrownianPoint {
  double clock;
  at::Tensor value;
};

/// The path at clock = `from` + `length`, given it at `from`: z is standard normal.
BrownianPoint brownian_after(const BrownianPoint& from, double length, const at::Tensor& z);

/// The path between two of its points, given both: the Brownian bridge
/// N(W_a + (c - a) / (b - a) (W_b - W_a), (c - a) (b - c) / (b - a)), z standard normal.  The
/// increments on both sides of it add up to the whole one, to the last bit.
BrownianPoint brownian_between(const BrownianPoint& a, const BrownianPoint& b, double clock,
                               const at::Tensor& z);

}  // namespace tweedie
