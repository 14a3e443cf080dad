// The trace of a network's Jacobian: exactly, or by Hutchinson's probes.
#pragma once

#include <string>
#include <vector>

#include "tweedie/model/network.h"
#include "tweedie/tensor/random.h"

namespace tweedie {

/// How a trace is taken: `exact`, one vector-Jacobian product a dimension; or as the mean of
/// v^T A v over random v with E[v v^T] = I (Hutchinson 1990).  With S = (A + A^T) / 2 a probe's
/// variance is 2 (|S|^2 - sum of S_ii^2) where v is of signs (`rademacher`), 2 |S|^2 where it is
/// `gaussian`.
enum class Divergence { exact, rademacher, gaussian };

/// "exact", "rademacher" or "gaussian".  Throws Error on another name.
Divergence divergence_named(const std::string& name);

/// Probes 0..count-1, each float32 [samples.size(), shape...].  An example's are its own whatever
/// the batch, and the first ones of more.
std::vector<Tensor> keyed_probes(Divergence kind, int64_t count, uint64_t seed,
                                 at::ArrayRef<int64_t> samples, at::IntArrayRef shape);

/// v^T J v of every probe v [B, ...], J the Jacobian of output [B, ...] by input [B, ...], rows of
/// the batch independent: one backward pass a probe.  Doubles on the CPU [B, K].
Tensor probe_jacobian(const Tensor& output, const Tensor& input, const std::vector<Tensor>& probes);
/// The trace of J [B, 1]: one backward pass a dimension.
Tensor jacobian_trace(const Tensor& output, const Tensor& input);

/// a . b of each row [B], in doubles on the CPU, in an order that does not depend on the batch.
Tensor row_dots(const Tensor& a, const Tensor& b);

}  // namespace tweedie
