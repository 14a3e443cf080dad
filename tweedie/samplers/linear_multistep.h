// Adams-Bashforth in the noise-to-signal ratio: LMS, PLMS and iPNDM.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/fields.h"
#include "tweedie/model/sampler.h"

namespace tweedie {

struct LinearMultistepOptions {
  int64_t order = 4;
  std::string weights = "exact";
  std::string start = "lower";
  template <class Visit>
  void fields(Visit&& visit) {
    visit("order", order, "1 to 4: predictions that a step is made from");
    visit("weights", weights,
          "exact: of the polynomial through uneven ratios (LMS); even: those of even steps (PLMS, "
          "iPNDM)");
    visit("start", start,
          "lower: lower orders first (LMS, iPNDM); heun: the first step is corrected by a second "
          "evaluation (PLMS); runge-kutta: three steps of the classical fourth order (PNDM)");
  }
};

/// x / alpha moves by (ratio_s - ratio_t) sum_j w_j eps_j, where eps is a polynomial in the ratio
/// sigma / alpha.  Weights "even": Liu et al. 2022 (arXiv:2202.09778), eq. 12.  One evaluation a
/// step; start=heun takes one more, start=runge-kutta nine more.  From pure noise, whose ratio is
/// infinite, the first step is DDIM's; what it was made from counts for "even" weights alone.
Sampler linear_multistep(LinearMultistepOptions options = {});

/// Adams-Bashforth weights of even steps, newest first, for an order of 1 to 4.
std::vector<double> even_weights(size_t order);

}  // namespace tweedie
