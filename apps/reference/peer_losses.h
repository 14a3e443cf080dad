// How the losses and bounds of each peer that we have are checked.
#pragma once

#include "groups.h"
#include "support.h"

namespace tweedie::reference {

Plan plan_improved_training_losses(const Json& row);  // training_losses, with gradients
Plan plan_improved_bound(const Json& row);            // calc_bpd_loop
Plan plan_improved_tables(const Json& row);           // likelihood tables
Plan plan_improved_resampler(const Json& row);        // LossSecondMomentResampler
Plan plan_edm_loss(const Json& row);                  // EDMLoss, VELoss, VPLoss
Plan plan_kdiffusion_loss(const Json& row);           // k-diffusion's Denoiser
Plan plan_song_losses(const Json& row);               // score_sde's losses
Plan plan_edm_preconditioning(const Json& row);       // EDM's, and those that it gives others
Plan plan_diffusers_training(const Json& row);        // rates of learning and of averaging
Plan plan_song_likelihood(const Json& row);           // score_sde's get_likelihood_fn
Plan plan_crowson_likelihood(const Json& row);        // k-diffusion's log_likelihood

}  // namespace tweedie::reference
