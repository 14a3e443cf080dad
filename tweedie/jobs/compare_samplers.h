// Samplers on one trained model: how far from the exact answer for how many network evaluations.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tweedie/jobs/model_file.h"

namespace tweedie {

struct CompareSamplersRequest {
  std::vector<std::string> samplers = {};  // empty: usual_solvers; "all": every deterministic one
  std::vector<int64_t> evaluations = {5, 10, 20, 40, 80};  // budgets of each sample
  int64_t reference_evaluations = 400;
  std::string path = "auto";  // each solver's own; or one of path_names() for all
  int64_t count = 16;
  uint64_t seed = 0;
  int64_t class_id = -1;                // as for samples
  std::optional<double> guidance = {};  // none: the model's own
  int64_t batch = 64;
  Log log = {};  // hears "compare N of M", in evaluations of the denoiser
};

/// The deterministic solvers worth a look on every model.
const std::vector<std::string>& usual_solvers();

/// One run of a solver.
struct SolverPoint {
  int64_t budget, steps, evaluations;
  double error = 0;           // in units of the data
  double standard_error = 0;  // over the samples; NaN where it is not known: of one, of distances
  double seconds = 0;
};

struct MissingPoint {
  int64_t budget;
  std::string because;
};

struct SolverCurve {
  std::string sampler, path;
  Json options = Json::object();
  bool stochastic = false;
  std::vector<SolverPoint> points;  // by rising budget
  std::vector<MissingPoint> missing;
};

struct SamplerComparison {
  SolverCurve reference;  // one point: its error is its floor, the distance from half its steps
  // Of two sets of the reference's samples from other noise: what an exact stochastic sampler has.
  std::optional<double> distribution_floor;
  std::vector<SolverCurve> curves;  // best first, at the middle budget; stochastic ones last
  int64_t middle_budget = 0;
  double guidance = 1;
  int64_t passes = 1;  // of the network in an evaluation: 2 with guidance
  double seconds = 0;
};

/// Every sampler from the same noise, with the most steps that each budget allows.  The error of a
/// deterministic one is the root mean square difference from a third-order solver with many steps;
/// a stochastic one has no answer to be compared with, and its error is the sliced Wasserstein-2
/// distance of its samples from the reference's of other noise, rough for few samples of images.
/// Predictions are not clipped in deterministic ones, or they would solve something else.  Throws
/// Error on an unknown sampler or an impossible request, and if nothing can be run.
SamplerComparison compare_samplers(const Model& model, const Registry& registry,
                                   const CompareSamplersRequest& request);

/// The deterministic run that needs the fewest evaluations for an error within `factor` of the
/// best; errors under the floor count as the floor.  None without a point.
struct Recommendation {
  const SolverCurve* curve;
  SolverPoint point;
  double best;
};
std::optional<Recommendation> recommended(const SamplerComparison& comparison, double factor = 1.1);

}  // namespace tweedie
