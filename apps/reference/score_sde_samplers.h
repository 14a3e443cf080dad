// score_sde's predictor-corrector samplers, which diffusers has too.
#pragma once

#include "peer_run.h"

namespace tweedie::reference {

struct SongRun {
  PeerRun run;
  std::vector<Tensor> means;  // of the state after every step, without its noise
};

/// The sampler that `config` describes in score_sde's words, with the case's start and draws; its
/// discrete levels are compared where the case has them.
SongRun run_song(const Case& the_case, const Json& config, Checker& checker);

}  // namespace tweedie::reference
