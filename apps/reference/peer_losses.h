// How the losses and bounds of each peer that we have are checked.
#pragma once

#include "groups.h"
#include "support.h"

namespace tweedie::reference {

Plan plan_improved_training_losses(const Json& row);  // training_losses, with gradients
Plan plan_improved_bound(const Json& row);            // calc_bpd_loop
Plan plan_improved_tables(const Json& row);           // likelihood tables
Plan plan_improved_resampler(const Json& row);        // LossSecondMomentResampler

}  // namespace tweedie::reference
