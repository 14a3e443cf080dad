// Denoising diffusion implicit models.
#pragma once

#include "tweedie/base/fields.h"
#include "tweedie/model/sampler.h"

namespace tweedie {

struct DdimOptions {
  double eta = 0;
  bool clip = true, clip_noise = true;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("eta", eta, "0: no noise; 1: the noise of ddpm's small variance");
    visit("clip", clip, "clamp the predicted x0 to [-1, 1]");
    visit("clip_noise", clip_noise,
          "take the noise that the clamped x0 leaves; false: the network's own, as diffusers does");
  }
};

/// Song et al. 2021 (arXiv:2010.02502), eq. 12 and 16, on any path.  With eta = 0 the path may also
/// run from data to noise: it then encodes x0 as the noise that gives it back (their section 5.4);
/// begin at the first noisy level, as no network is trained at clean data.
Sampler ddim(DdimOptions options = {});

}  // namespace tweedie
