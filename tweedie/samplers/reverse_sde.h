// The reverse SDE step by step, with Langevin corrections: the predictor-corrector samplers.
#pragma once

#include <string>

#include "tweedie/base/fields.h"
#include "tweedie/model/sampler.h"

namespace tweedie {

struct ReverseSdeOptions {
  std::string predictor = "reverse-diffusion";
  bool flow = false;
  int64_t corrections = 0;
  std::string size = "snr";
  double snr = 0.16;
  double step = 0.1;
  bool noise_at_end = false;
  bool batch_norms = false;  // score_sde's norms, means over the batch; set by programs
  template <class Visit>
  void fields(Visit&& visit) {
    visit(
        "predictor", predictor,
        "euler-maruyama (continuous schedules), reverse-diffusion, ancestral, ancestral-large, or "
        "none (annealed Langevin dynamics)");
    visit("flow", flow, "half the score and no noise: the predictor's probability flow");
    visit("corrections", corrections, "Langevin steps at each level, before the predictor");
    visit("size", size, "of a Langevin step h: snr, or sigma");
    visit("snr", snr, "size=snr: h = 2 a^2 (snr |noise| / |score|)^2, each sample's own norms");
    visit("step", step, "size=sigma: h = step a^2 sigma^2, as in NCSN");
    visit("noise_at_end", noise_at_end,
          "keep the noise of the last step, and without a predictor its state");
  }
};

/// Song et al. 2021 (arXiv:2011.13456), algorithms 1 to 5.  With q(x_t | x_s) = N(a x_s, v):
///  - reverse-diffusion: x_s = (2 - a) x_t + v score + sqrt(v) z (their eq. 46);
///  - ancestral: x_s = (x_t + v score) / a + sqrt(posterior variance) z, or "large" sqrt(v) z;
///  - euler-maruyama: x_s = x_t + (f x_t - g^2 score)(s - t) + g sqrt(t - s) z;
///  - none: x_s = x_t, and E[x_0 | x_t] at the step to clean data unless noise_at_end;
///  - a correction: x + h score + sqrt(2 h) z, h in units of x^2.  Song & Ermon 2019
///    (arXiv:1907.05600), algorithm 1, whose alpha_i is 2 h.
/// Evaluations: one a step for the predictor, one for each correction; without a predictor the
/// corrections', and one for E[x_0 | x_t].
Sampler reverse_sde(ReverseSdeOptions options = {});

}  // namespace tweedie
