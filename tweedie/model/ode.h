// log p(x) by the probability flow, and the flow as a code: data to noise and back.
#pragma once

#include <string>
#include <vector>

#include "tweedie/model/flow_slope.h"

namespace tweedie {

/// Mean and variance of the data, each broadcastable to an example.
struct DataMoments {
  Tensor mean, var;
};

struct OdeOptions {
  double rtol = 1e-5, atol = 1e-5;
  int64_t max_evaluations = 10000;  // of the network, per example and solve
  Divergence divergence = Divergence::exact;
  int64_t exact_limit = 64;               // dimensions up to which `exact` is not refused
  int64_t probes = 1;                     // where it is not exact
  uint64_t seed = 0;                      // of the probes,
  std::vector<int64_t> samples = {};      // which belong to these examples; empty: 0, 1, ...
  std::vector<Tensor> given_probes = {};  // in place of drawn ones, each [B, ...]
  bool numerical_error = true;            // solve again at ten times the tolerance
  bool partial = false;  // of log p: an example that does not reach the end is left out and named,
                         // where else it is an Error
  DataMoments moments = {};  // for `prior_mismatch`; undefined: not reported
};

/// Of each example; doubles on the CPU.  NaN where the example is unfinished.
struct LogProb {
  Tensor nats;             // [B] log p(x) at the flow's data end, t_min: an estimate, no bound
  Tensor per_probe;        // [B, K] whose mean over the probes it is
  Tensor probe_error;      // [B] its standard error from them: 0 if exact, NaN for one probe
  Tensor numerical_error;  // [B] what ten times the tolerance changes; NaN where that did not reach
                           // the end; undefined if not asked for
  Tensor prior_nats;       // [B] log N(x at t_max; 0, prior_std^2)
  Tensor log_det;          // [B] of the flow from t_min to t_max
  Tensor latent;           // [B, ...] x at t_max
  Tensor prior_mismatch;   // [B] what N(alpha mean, alpha^2 var + sigma^2) in place of the prior
                           // would add; undefined without moments
  Tensor evaluations;      // int64 [B] of the network, over both solves
  Tensor second_solve;     // int64 [B] of the second one alone; undefined if not asked for
  Level data, noise;       // the ends of the flow
  std::string note;        // what the flow leaves out; see FlowRange
  std::vector<Unfinished> unfinished;  // empty unless OdeOptions::partial
};

/// log p(x) of x [B, ...] at t_min.  Song et al. 2021 (arXiv:2011.13456), eq. 39, in y = x / alpha
/// against log(sigma / alpha), where the divergence of the flow is D - alpha tr d E[x_0|x] / dx and
/// log alpha comes in at the ends.  The denoiser must be bare: no clipping, no guidance.
/// The network sees x's type; the state is in doubles.  Throws Error where D is too large for
/// `exact`, where an example does not reach the end (unless `partial`), and where the network is
/// not finite.
LogProb ode_log_prob(const Denoiser& denoiser, const Schedule& schedule, const Tensor& x,
                     const Condition& condition, const OdeOptions& options);

/// The noise at t_max that the flow takes x [B, ...] at t_min to, and back.  Doubles on the CPU.
/// Throws Error where an example does not reach the end.
Tensor ode_encode(const Denoiser& denoiser, const Schedule& schedule, const Tensor& x,
                  const Condition& condition, const OdeOptions& options);
Tensor ode_decode(const Denoiser& denoiser, const Schedule& schedule, const Tensor& noise,
                  const Condition& condition, const OdeOptions& options);

struct DecodedLogProb {
  Tensor x;  // [B, ...] at t_min; NaN where unfinished
  LogProb log_prob;
};
/// ode_decode, with log p of what it makes, summed along its own way from the noise.
DecodedLogProb ode_decode_log_prob(const Denoiser& denoiser, const Schedule& schedule,
                                   const Tensor& noise, const Condition& condition,
                                   const OdeOptions& options);

/// log N(x; 0, std^2 I) of each example [B], in doubles on the CPU.
Tensor normal_log_density(const Tensor& x, double std);

}  // namespace tweedie
