// Single-step exponential solvers: DPM-Solver-1/2/3 and DPM-Solver++(2S), with ancestral noise if
// wanted.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/fields.h"
#include "tweedie/model/sampler.h"
#include "tweedie/samplers/exponential.h"

namespace tweedie {

struct SingleStepOptions {
  int64_t order = 2;
  std::string form = "x0";
  std::string closure = "half";
  std::string stages = "between";
  double r1 = 0, r2 = 0;
  double eta = 0;
  bool noisy_stages = false;
  std::vector<int64_t> orders = {};  // of every step, instead of `order`; set by programs
  template <class Visit>
  void fields(Visit&& visit) {
    visit("order", order, "1, 2 or 3: evaluations a step");
    visit("form", form, "x0 or eps: what is taken for a polynomial in log-SNR");
    visit("closure", closure, "half: the customary one; exact: the taylor variant");
    visit("stages", stages,
          "between: a step's inner levels lie between those of the path; path: they are levels of "
          "the path, so that N levels make N evaluations");
    visit("r1", r1, "place of the first inner level in log-SNR; 0: 1/2, for order 3 1/3");
    visit("r2", r2, "place of the second; 0: 2/3");
    visit("eta", eta, "share of ancestral noise: 0 none, 1 all");
    visit("noisy_stages", noisy_stages, "noise at the inner level too (DPM-Solver++ SDE, order 2)");
  }
};

/// Lu et al. 2022 (arXiv:2206.00927), algorithms 1, 2 and 5 with form eps; Lu et al. 2022
/// (arXiv:2211.01095), algorithm 1 with form x0.  A step to clean data is one of order 1.
Sampler single_step(SingleStepOptions options = {});

/// E[x_0 | x] of states at their levels.
using Evaluate = std::function<Tensor(const Tensor& x, Levels levels)>;

/// The results of one step, from the same evaluations: of order `inner.size() + 1`, and where an
/// `estimate` of its error is wanted, of one order less (x itself for order 1).
struct SingleStep {
  Tensor high, low, x0;
};

/// One step from t to s over the inner levels, none to two of them; levels are one for the batch or
/// one for each example.
SingleStep take_single_step(const Evaluate& evaluate, const Tensor& x, Levels t,
                            const std::vector<std::vector<Level>>& inner, Levels s, Form form,
                            Closure closure, bool estimate);

/// Where a step goes before ancestral noise of standard deviation `std` takes it to s: eta = 1 is
/// the whole posterior variance of DDIM's eq. 16.  It does not go below sigma / alpha = `least`.
struct AncestralSplit {
  Level down;
  double std;
};
AncestralSplit ancestral_split(const Level& t, const Level& s, double eta, double least = 0);

}  // namespace tweedie
