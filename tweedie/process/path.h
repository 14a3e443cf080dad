// Paths: the levels that a sampler or a bound visits, from noise to data.
#pragma once

#include <string>
#include <vector>

#include "tweedie/process/schedule.h"

namespace tweedie {

/// The level of a schedule at a log-SNR; at the nearer end if it lies outside.
using Curve = std::function<Level(double log_snr)>;
/// A chain's goes through its knots (see `interpolated`).  Throws Error when it is called, not when
/// it is made, if the schedule has no such curve: a chain of one step.
Curve curve_of(const Schedule& schedule);

/// Levels of rising log-SNR; may end in `clean`.  `between` gives those of the same schedule that
/// are not listed, to solvers that choose their own; empty where the path was made by hand.
struct Path : std::vector<Level> {
  using std::vector<Level>::vector;
  Curve between = {};
};

/// Every level of a chain, T..1, then `clean`.
Path chain_path(const Schedule& chain);
/// The levels of a chain at the given steps of 1..T, falling, then `clean`.
Path path_through(const Schedule& chain, const std::vector<int64_t>& steps);

// `steps` of a chain's 1..length, falling, all different, for any steps in 1..length, in exact
// integers (Lin et al. 2024, arXiv:2305.08891, table 2): ending at 1 with a fixed stride; starting
// at `length`; both.
std::vector<int64_t> leading_steps(int64_t length, int64_t steps);
std::vector<int64_t> trailing_steps(int64_t length, int64_t steps);
std::vector<int64_t> linspace_steps(int64_t length, int64_t steps);
/// The steps nearest in log(sigma / alpha) to karras_path's levels, made different.  Any steps in
/// 1..T of a chain that does not end in pure noise.
std::vector<int64_t> karras_steps(const Schedule& chain, int64_t steps, double rho = 7);

/// `steps` levels for ancestral-type samplers, then `clean`: exactly `steps` evaluations for any
/// steps in 1..T. On a chain "trailing"; on a continuous schedule evenly spaced in t from t_max,
/// the last one a step above t_min, or where that makes no sense (edm) as karras_path.
Path sampling_path(const Schedule& schedule, int64_t steps);
/// What the bound is evaluated on: `steps` levels of a chain ("trailing"); `steps` equal intervals
/// of t, or of log-SNR for edm, on a continuous schedule, so steps + 1 levels from t_max to t_min.
/// No `clean` end: the decoder starts at the last level.
Path bound_path(const Schedule& schedule, int64_t steps);
/// Evenly spaced in log-SNR between the schedule's ends, continuous schedules with alpha > 0 only;
/// `clean` not appended.
Path log_snr_path(const Schedule& schedule, int64_t steps);
/// Karras et al. 2022 (arXiv:2206.00364), eq. 5: even in (sigma/alpha)^(1/rho) between the ends,
/// then `clean`; on a chain at karras_steps.
Path karras_path(const Schedule& schedule, int64_t steps, double rho = 7);

/// The path called `name` for a sampler of `steps` steps, always ending in `clean`: "auto"
/// (sampling_path), on a chain "trailing", "leading" or "linspace", or with "+1" one level more of
/// which the cleanest is left out (diffusers' grids of DPM-Solver, UniPC and DEIS), on a continuous
/// schedule "linspace" (diffusers' of flow matching) or "time", and on every schedule "karras" or
/// "log-snr".  Throws Error on another name and where the schedule has none of that kind.
Path named_path(const std::string& name, const Schedule& schedule, int64_t steps);
/// What named_path knows, for messages.
std::vector<std::string> path_names();

/// The t at which a continuous schedule has this log-SNR, by bisection to the last bit; the nearer
/// end if it lies outside.
double time_of_log_snr(const Schedule& schedule, double wanted);

}  // namespace tweedie
