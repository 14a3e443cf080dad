// Ancestral sampling.
#pragma once

#include <string>

#include "tweedie/base/fields.h"
#include "tweedie/model/vlb.h"

namespace tweedie {

struct DdpmOptions {
  std::string variance = "auto";
  bool clip = true;
  X0Variance x0_variance = {};  // what the analytic variance needs; set by programs
  template <class Visit>
  void fields(Visit&& visit) {
    visit("variance", variance,
          "of a reverse step: small (beta tilde), large (beta), learned; auto: learned if there is "
          "one, else large");
    visit("clip", clip, "clamp the predicted x0 to [-1, 1]");
  }
};

/// Ho et al. 2020 (arXiv:2006.11239), algorithm 2, on any path; no noise in the step to clean data.
Sampler ddpm(DdpmOptions options = {});

}  // namespace tweedie
