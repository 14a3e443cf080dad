// Multistep exponential solvers: the DPM-Solver++ M family, its SDE variants, DEIS, UniPC and
// SA-Solver.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/fields.h"
#include "tweedie/model/sampler.h"

namespace tweedie {

struct MultistepOptions {
  int64_t order = 2;
  std::string form = "x0";
  std::string closure = "exact";
  bool half_curvature = false;
  double eta = 0;
  int64_t corrector = 0;
  bool lower_final = true;
  std::vector<int64_t> orders = {};       // of every step, instead of `order`; set by programs
  std::vector<int64_t> uncorrected = {};  // steps whose end is not corrected; set by programs
  std::vector<double> etas = {};          // of every step, instead of `eta`; set by programs
  template <class Visit>
  void fields(Visit&& visit) {
    visit("order", order, "predictions that a step is made from, this one included");
    visit("form", form, "x0 or eps: what is taken for a polynomial in log-SNR");
    visit("closure", closure,
          "of two predictions: exact; half: the customary second order, UniPC's bh2; half_step: "
          "bh1");
    visit("half_curvature", half_curvature,
          "of three predictions: the widespread third order, which has order 2");
    visit("eta", eta, "0: the flow; 1: the reverse SDE");
    visit("corrector", corrector,
          "predictions that correct a step once its end is known, that one included; 0: none");
    visit("lower_final", lower_final, "with fewer than 15 steps, end with steps of lower order");
  }
};

/// Exponential Adams methods: x0 or eps is the polynomial through the last predictions, integrated
/// as exponential_step says; the corrector redoes the step before, with the prediction at its end.
///  - order 2, half: DPM-Solver++(2M); order 3: its 3M; eta > 0: SDE-DPM-Solver++.  Lu et al. 2022
///    (arXiv:2211.01095), algorithm 2.
///  - form eps: DEIS, exactly integrated in log(sigma / alpha).  Zhang & Chen 2023
///  (arXiv:2204.13902).
///  - corrector order + 1: UniPC, whose B(h) matters for two predictions only.  Zhao et al. 2023
///    (arXiv:2302.04867).
///  - eta > 0 with corrector: SA-Solver.  Xue et al. 2023 (arXiv:2305.14267), algorithm 1, whose
///    tau^2 is eta.
/// One evaluation a step.
Sampler multistep(MultistepOptions options = {});

}  // namespace tweedie
