// How training draws levels, and the weight of the squared error there.
#pragma once

#include <functional>
#include <string>

#include "tweedie/process/schedule.h"

namespace tweedie {

/// What is made of a network's output: its weighted error; that and the bound's own term, whose
/// gradient reaches a learned variance; or the bound alone.
enum class LossKind { error, hybrid, bound };

/// Which squared error is weighed: that of eps, whatever the network predicts; or that of the
/// network's own output F, which alone says something at pure noise (alpha = 0), where eps is
/// known.
enum class ErrorOf { eps, output };

struct Objective {
  std::string name;
  std::function<Level(double u)> draw;  // inverse CDF of the training levels, u in [0, 1)
  std::function<double(const Level&)>
      weight;  // on the mean over dimensions of the squared error; unused by `bound`
  LossKind kind = LossKind::error;
  double vlb_weight = 0;  // hybrid: of the bound's term, beside the weighted error
  ErrorOf error = ErrorOf::eps;
};

/// Every level alike (see even_levels), weight 1: L_simple.  Ho et al. 2020 (arXiv:2006.11239), eq.
/// 14.
Objective simple_objective(const Schedule& schedule);

/// Every level alike, weight 1 on the error of the network's own output: with velocity prediction
/// flow matching (Lipman et al. 2023, arXiv:2210.02747, eq. 9), with v what zero-terminal-SNR
/// chains need (Lin et al. 2024, arXiv:2305.08891, section 3.2).
Objective unweighted_objective(const Schedule& schedule);

/// Every level alike, weighted so that the mean loss is the bound's diffusion part in nats for each
/// dimension: on a continuous schedule -1/2 d log_snr/dt (Kingma et al. 2021, arXiv:2107.00630, eq.
/// 17), on a chain T/2 (SNR_s / SNR_t - 1) (their eq. 14; step 1, whose term belongs to the
/// decoder, is weighted as step 2).
Objective vlb_objective(const Schedule& schedule);

/// The same mean loss with one weight for all levels, which are drawn the more often the more they
/// weigh.  Song et al. 2021 (arXiv:2101.09258), eq. 7 with their likelihood weighting lambda = g^2
/// and t drawn in proportion to g^2 / sigma^2 (their section 5): since g^2 / sigma^2 = -d
/// log_snr/dt, every log-SNR is alike.  Throws Error where log-SNR is not finite at both ends.
Objective likelihood_objective(const Schedule& schedule);

/// `vlb_share` of the bound and the rest a bell sech(log_snr / 2) of the same total over log-SNR,
/// which is where pictures are made (it is L_simple's weight under the cosine schedule: Kingma &
/// Gao 2023, arXiv:2303.00848, table 1).
Objective mixed_objective(const Schedule& schedule, double vlb_share = 0.5);

/// L_simple + vlb_weight * the bound, for learned variances on a chain.  Nichol & Dhariwal 2021
/// (arXiv:2102.09672), eq. 16.
Objective hybrid_objective(const Schedule& schedule, double vlb_weight = 1e-3);

/// The whole bound of a chain, its decoder included, for any reverse variance.  Ho et al. 2020
/// (arXiv:2006.11239), eq. 5.
Objective bound_objective(const Schedule& schedule);

/// L_simple with weight min(SNR, cap) / SNR.  Hang et al. 2023 (arXiv:2303.09556), eq. 7.
Objective min_snr_objective(const Schedule& schedule, double cap = 5);

/// Log-normal noise-to-signal ratio and the weight of Karras et al. 2022 (arXiv:2206.00364),
/// table 1.  Continuous schedules.
Objective edm_objective(const Schedule& schedule, double log_mean = -1.2, double log_std = 1.2,
                        double sigma_data = 0.5);

/// The same mean loss with levels drawn in proportion to their weight, which is then the same
/// everywhere (on a continuous schedule: but for its change within 1/4096 of the range of log-SNR):
/// fewer examples are spent where the weight is small.  Throws Error on an objective that draws its
/// levels in its own way or has no weights, where a weight is 0 or infinite, and on a continuous
/// schedule without finite log-SNR.
Objective drawn_by_weight(Objective objective, const Schedule& schedule);

/// x with P(N(0, 1) < x) = p, p in (0, 1).
double normal_quantile(double p);

}  // namespace tweedie
