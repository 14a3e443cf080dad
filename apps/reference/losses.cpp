#include "peer_losses.h"

namespace tweedie::reference {
namespace {

/// Whether the case was made by this function or class of the peer, by what it says of its source.
bool from(const Json& row, const std::string& name) {
  return text_or_empty(row, "source").find(name) != std::string::npos;
}

}  // namespace

Plan plan_losses(const Json& row) {
  const std::string peer = row.at("peer");
  if (peer == "improved-diffusion") {
    if (from(row, "calc_bpd_loop")) return plan_improved_bound(row);
    if (from(row, "training_losses")) return plan_improved_training_losses(row);
    if (from(row, "discretized_gaussian_log_likelihood")) return plan_improved_tables(row);
    if (from(row, "LossSecondMomentResampler")) return plan_improved_resampler(row);
  }
  if (peer == "edm" && from(row, "training/loss.py")) return plan_edm_loss(row);
  if (peer == "k-diffusion" && from(row, "layers.py: Denoiser")) return plan_kdiffusion_loss(row);
  if (peer == "score_sde" && from(row, "get_sde_loss_fn")) return plan_song_losses(row);
  if (from(row, "get_scheduler")) return plan_diffusers_training(row);
  if (peer == "score_sde" && from(row, "get_likelihood_fn")) return plan_song_likelihood(row);
  if (peer == "k-diffusion" && from(row, "log_likelihood")) return plan_crowson_likelihood(row);
  if (from(row, "Precond")) return plan_edm_preconditioning(row);
  return {{}, peer + " " + text_or_empty(row, "source") + ": not in this release"};
}

}  // namespace tweedie::reference
