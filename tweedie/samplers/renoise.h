// Sampling by jumping to the data and adding noise again: consistency models and their kin.
#pragma once

#include "tweedie/base/fields.h"
#include "tweedie/model/sampler.h"

namespace tweedie {

struct RenoiseOptions {
  double fresh = 1;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("fresh", fresh,
          "share of the noise's variance that is new: 1 all (consistency models), 0 none (DDIM)");
  }
};

/// x_s = alpha_s x0 + sigma_s (sqrt(1 - fresh) eps + sqrt(fresh) z).  Song et al. 2023
/// (arXiv:2303.01469), algorithm 1; between 0 and 1 Zheng et al. 2024 (arXiv:2402.19159), whose
/// strategic sampling goes to a lower level and up again.  Made for models distilled to predict the
/// end of the flow; with E[x_0 | x_t] it is biased unless the steps are many.  One evaluation a
/// step.
Sampler renoise(RenoiseOptions options = {});

}  // namespace tweedie
