// Noise schedules: curves t -> Level from data (small t) to noise (t_max), continuous or given on a
// chain.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tweedie/process/level.h"

namespace tweedie {

struct Schedule {
  std::string name;
  double t_min = 0, t_max = 1;
  double prior_std = 1;  // p(x at t_max) = N(0, prior_std^2 I)
  int64_t steps = 0;     // 0: continuous; T: only t = i/T, i = 0..T, exists (0 is clean)
  std::function<Level(double t)> at;  // throws Error off the range or off the chain
  bool even_in_t = true;  // whether equal steps of t make a sensible path; not where t is sigma
  std::vector<std::string> warnings;  // what validation found, for the user to read
};

/// A chain from per-step noise variances beta_1..beta_T in (0, 1], of which only the last may be 1,
/// tabulated in log space (doubles).  Throws Error naming the step whose beta is not.
/// Ho et al. 2020 (arXiv:2006.11239), eq. 4: alpha_bar_t = prod (1 - beta_s).
Schedule chain_from_betas(std::string name, const std::vector<double>& betas);

// Betas of the field's chains, in doubles, for any T >= 1.  They throw Error on T < 1 and on ends
// that are not 0 < beta_start <= beta_end <= 1.
std::vector<double> linear_betas(int64_t steps, double beta_start, double beta_end);
std::vector<double> scaled_linear_betas(int64_t steps, double beta_start, double beta_end);
std::vector<double> cosine_betas(int64_t steps, double max_beta = 0.999);
std::vector<double> sigmoid_betas(int64_t steps, double beta_start, double beta_end);
std::vector<double> sohl_dickstein_betas(int64_t steps);
/// Lin et al. 2024 (arXiv:2305.08891), algorithm 1: shifts and scales alpha so that the last
/// alpha_bar is zero.
std::vector<double> zero_terminal_snr(const std::vector<double>& betas);

/// The beta that does in a chain of `steps` what `beta_at_1000` does in one of 1000: 1000/T times
/// as much (improved-diffusion), at most 0.999 so that something is left of the signal.
double rescaled_beta(double beta_at_1000, int64_t steps);

/// A linear chain, beta from 1e-4 to 0.02 at T = 1000, rescaled for other T.
Schedule linear_chain(int64_t steps = 1000);
Schedule cosine_chain(int64_t steps = 1000);

// Continuous processes.
Schedule vp_linear(double beta_min = 0.1, double beta_max = 20, double t_min = 1e-5);
Schedule sub_vp(double beta_min = 0.1, double beta_max = 20, double t_min = 1e-5);
Schedule ve(double sigma_min = 0.01, double sigma_max = 50);
Schedule cosine(double t_min = 1e-4, double t_max = 0.9999);
Schedule edm(double sigma_min = 0.002, double sigma_max = 80);
Schedule flow(double t_min = 1e-4, double t_max = 1);
/// Variance preserving with log-SNR falling linearly in t: -log_snr = gamma_min + t (gamma_max -
/// gamma_min), t in [0, 1]. Kingma et al. 2021 (arXiv:2107.00630).
Schedule log_snr_linear(double gamma_min = -13.3, double gamma_max = 5);

/// A continuous schedule through a chain's knots t = 1/T..1, monotone and smooth in log-SNR (a
/// cubic with Fritsch & Carlson 1980's slopes), for solvers that need tangents.  Variance
/// preserving. Throws Error if the chain is shorter than 2 or ends in pure noise.
Schedule interpolated(const Schedule& chain);

/// What a user should know of a schedule before training on it: an L_T too large to ignore.
std::vector<std::string> schedule_warnings(const Schedule& schedule);

/// L_T: KL(q(x_T | x_0) || N(0, prior_std^2)) in nats for one dimension with |x_0|^2 =
/// `x0_squared`.
double terminal_mismatch_nats(const Schedule& schedule, double x0_squared = 1);

}  // namespace tweedie
