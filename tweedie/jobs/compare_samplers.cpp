#include "tweedie/jobs/compare_samplers.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "tweedie/base/clock.h"
#include "tweedie/jobs/example_table.h"
#include "tweedie/jobs/sample.h"
#include "tweedie/metrics/sliced_wasserstein.h"

namespace tweedie {
namespace {

constexpr int64_t kMostEvaluations = 100'000;

void check_comparison(const CompareSamplersRequest& request) {
  check(!request.evaluations.empty(),
        "--evaluations: expected at least one number, as in --evaluations 10,20,40");
  for (const int64_t budget : request.evaluations)
    check(budget >= 1 && budget <= kMostEvaluations, "--evaluations: expected numbers from 1 to ",
          kMostEvaluations, ", got ", budget);
  const int64_t most = *std::max_element(request.evaluations.begin(), request.evaluations.end());
  check(request.reference_evaluations >= 2 * most, "--reference-evaluations ",
        request.reference_evaluations, ": the reference must be finer than what it judges; pass ",
        2 * most, " or more");
  check(request.reference_evaluations <= 10 * kMostEvaluations,
        "--reference-evaluations: expected ", 10 * kMostEvaluations, " or fewer, got ",
        request.reference_evaluations);
  check(request.count >= 1, "--count: expected 1 or more, got ", request.count);
  check(request.batch >= 1, "--batch: expected 1 or more, got ", request.batch);
  const std::vector<std::string> paths = path_names();
  check(std::find(paths.begin(), paths.end(), request.path) != paths.end(), "unknown path '",
        request.path, "'", suggestion(request.path, paths));
}

/// The solvers that were asked for, each once, in order.
std::vector<std::string> solvers_asked(const Registry& registry,
                                       const CompareSamplersRequest& request) {
  std::vector<std::string> names;
  if (request.samplers.empty()) {
    names = usual_solvers();
  } else if (request.samplers == std::vector<std::string>{"all"}) {
    for (const auto& [name, entry] : registry.samplers)
      if (!entry.facts.stochastic) names.push_back(name);
  } else {
    names = request.samplers;
  }
  std::set<std::string> seen;
  std::erase_if(names, [&](const std::string& name) { return !seen.insert(name).second; });
  for (const std::string& name : names) find_entry(registry.samplers, name, "sampler");
  return names;
}

SolverCurve curve_named(const std::string& name, const std::string& path, const Model& model,
                        const Registry& registry) {
  const SamplerEntry& entry = find_entry(registry.samplers, name, "sampler");
  SolverCurve curve{.sampler = name,
                    .path = path == "auto" ? suitable_path(entry.facts, model.schedule) : path,
                    .stochastic = entry.facts.stochastic,
                    .points = {},
                    .missing = {}};
  if (!curve.stochastic && entry.clips) curve.options["clip"] = false;
  return curve;
}

/// A third-order solver where log-SNR is finite; from pure noise one that needs no logarithm.
SolverCurve reference_of(const Model& model, const Registry& registry, int64_t evaluations) {
  const Schedule& schedule = model.schedule;
  const bool chain = schedule.steps > 0, signal = schedule.at(schedule.t_max).alpha > 0;
  const std::string name = signal ? "dpm++3m" : chain ? "heun" : "flow-heun";
  SolverCurve curve = curve_named(name, "auto", model, registry);
  const int64_t steps = registry.samplers.at(name).facts.evaluations.steps_within(evaluations);
  const int64_t taken = chain ? std::min(steps, schedule.steps) : steps;
  check(taken >= 2, "compare-samplers: the reference would take ", taken, " step with ",
        evaluations,
        " evaluations; it needs 2 steps (--reference-evaluations 400) and a chain of 2");
  curve.points.push_back({.budget = evaluations,
                          .steps = taken,
                          .evaluations = registry.samplers.at(name).facts.evaluations.of(taken)});
  return curve;
}

/// Runs to make, their cost known before the first.
struct Planned {
  size_t curve;
  SolverPoint point;
};

std::vector<Planned> plan(std::vector<SolverCurve>& curves, const Model& model,
                          const Registry& registry, const std::vector<int64_t>& budgets) {
  std::vector<Planned> runs;
  for (size_t i = 0; i < curves.size(); ++i) {
    const EvaluationCount& count = registry.samplers.at(curves[i].sampler).facts.evaluations;
    for (const int64_t budget : budgets) {
      const int64_t steps = count.steps_within(budget), chain = model.schedule.steps;
      std::string why;
      if (count.per_step == 0)
        why = "it chooses its own steps, so that no number of evaluations can be asked of it";
      else if (steps == 0)
        why = "a single step takes " + std::to_string(count.of(1));
      else if (chain > 0 && steps > chain)
        why = "the chain has only " + std::to_string(chain) + " steps";
      if (why.empty())
        runs.push_back({i, {.budget = budget, .steps = steps, .evaluations = count.of(steps)}});
      else
        curves[i].missing.push_back({budget, why});
    }
  }
  return runs;
}

/// Runs samplers of one request and says how far it all is.
class Runner {
 public:
  Runner(const Model& model, const Registry& registry, const CompareSamplersRequest& request)
      : model_(model), registry_(registry), request_(request) {}

  void expect(int64_t evaluations) { all_ += evaluations; }

  SampleResult run(const SolverCurve& curve, int64_t steps, int64_t evaluations,
                   int64_t first = 0) {
    const SampleRequest one{.count = request_.count,
                            .sampler = curve.sampler,
                            .sampler_options = curve.options,
                            .path = curve.path,
                            .steps = steps,
                            .seed = request_.seed,
                            .first = first,
                            .class_id = request_.class_id,
                            .guidance = request_.guidance,
                            .batch = request_.batch};
    const int64_t batches = (request_.count + request_.batch - 1) / request_.batch;
    const double each = static_cast<double>(evaluations) / static_cast<double>(steps * batches);
    int64_t seen = 0;
    const Observer watch = [&](const Step&) {
      say(done_ + static_cast<int64_t>(each * static_cast<double>(++seen)));
    };
    // What a failed run would have cost is done with as well.
    const struct AtEnd {
      int64_t& done;
      int64_t cost;
      ~AtEnd() { done += cost; }
    } at_end{done_, evaluations};
    return sample(model_, registry_, one, watch);
  }

 private:
  void say(int64_t done) const {
    if (request_.log && done > 0)
      request_.log("compare " + std::to_string(done) + " of " + std::to_string(all_));
  }
  const Model& model_;
  const Registry& registry_;
  const CompareSamplersRequest& request_;
  int64_t done_ = 0, all_ = 0;
};

struct Measured {
  double value, standard_error;
};

/// Over the samples; the standard error of a root is that of its square over twice the root.
Measured root_mean_square(const Tensor& difference) {
  const Tensor squares = difference.to(at::kDouble).square().flatten(1).mean(1);  // [B]
  const double root = std::sqrt(squares.mean().item<double>());
  const double error = mean_of(squares).error;
  return {root, root > 0 ? error / (2 * root) : error};
}

/// How it would scatter with other samples is not known.
Measured distance_of_sets(const Tensor& a, const Tensor& b) {
  return {sliced_wasserstein(a, b).distance, std::nan("")};
}

/// Best first at the middle budget; those without a point there last of their kind.
void sort_curves(std::vector<SolverCurve>& curves, int64_t budget) {
  const auto error = [&](const SolverCurve& curve) {
    for (const SolverPoint& point : curve.points)
      if (point.budget == budget) return point.error;
    return curve.points.empty() ? std::numeric_limits<double>::infinity()
                                : std::numeric_limits<double>::max();
  };
  std::stable_sort(curves.begin(), curves.end(), [&](const SolverCurve& a, const SolverCurve& b) {
    return std::pair(a.stochastic, error(a)) < std::pair(b.stochastic, error(b));
  });
}

/// Samples of numbers that share no noise with the first `count` but the same classes in turn.
int64_t first_of_other_noise(const Model& model, int64_t count) {
  const int64_t classes =
      model.config.data.conditional ? static_cast<int64_t>(model.data.classes.size()) : 1;
  const int64_t turn = std::max<int64_t>(classes, 1);
  return (count + turn - 1) / turn * turn;
}

}  // namespace

const std::vector<std::string>& usual_solvers() {
  static const std::vector<std::string> names = {"ddim",  "euler", "heun",    "midpoint",
                                                 "dpm-2", "dpm-3", "dpm++2s", "dpm++2m",
                                                 "deis",  "unipc", "dpm++3m"};
  return names;
}

SamplerComparison compare_samplers(const Model& model, const Registry& registry,
                                   const CompareSamplersRequest& request) {
  const auto started = Clock::now();
  check_comparison(request);
  const std::set<int64_t> sorted(request.evaluations.begin(), request.evaluations.end());
  const std::vector<int64_t> budgets(sorted.begin(), sorted.end());
  SamplerComparison out;
  out.middle_budget = budgets[budgets.size() / 2];
  for (const std::string& name : solvers_asked(registry, request))
    out.curves.push_back(curve_named(name, request.path, model, registry));
  out.reference = reference_of(model, registry, request.reference_evaluations);
  const std::vector<Planned> runs = plan(out.curves, model, registry, budgets);
  const bool stochastic = std::any_of(runs.begin(), runs.end(), [&](const Planned& run) {
    return out.curves[run.curve].stochastic;
  });

  Runner runner(model, registry, request);
  SolverPoint& fine = out.reference.points.front();
  const EvaluationCount& count = registry.samplers.at(out.reference.sampler).facts.evaluations;
  const int64_t half = fine.steps / 2;
  runner.expect(fine.evaluations * (stochastic ? 2 : 1) + count.of(half));
  for (const Planned& run : runs) runner.expect(run.point.evaluations);

  const SampleResult exact = runner.run(out.reference, fine.steps, fine.evaluations);
  const SampleResult coarse = runner.run(out.reference, half, count.of(half));
  const Measured floor = root_mean_square(coarse.x - exact.x);
  fine.error = floor.value, fine.standard_error = floor.standard_error;
  fine.seconds = exact.seconds;
  out.guidance = exact.guidance;
  out.passes = exact.evaluations / fine.evaluations;
  Tensor others;
  if (stochastic) {
    others = runner
                 .run(out.reference, fine.steps, fine.evaluations,
                      first_of_other_noise(model, request.count))
                 .x;
    out.distribution_floor = distance_of_sets(exact.x, others).value;
  }

  for (const Planned& run : runs) {
    SolverCurve& curve = out.curves[run.curve];
    SolverPoint point = run.point;
    try {
      const SampleResult result = runner.run(curve, point.steps, point.evaluations);
      const Measured error = curve.stochastic ? distance_of_sets(result.x, others)
                                              : root_mean_square(result.x - exact.x);
      point.error = error.value, point.standard_error = error.standard_error;
      point.seconds = result.seconds;
      curve.points.push_back(point);
    } catch (const Error& error) {  // this sampler cannot be run on this model: the others can
      curve.missing.push_back({point.budget, error.what()});
    }
  }
  if (std::all_of(out.curves.begin(), out.curves.end(),
                  [](const SolverCurve& curve) { return curve.points.empty(); }))
    fail("compare-samplers: none of the samplers can be run on this model; ",
         out.curves.front().sampler, ": ", out.curves.front().missing.front().because);
  sort_curves(out.curves, out.middle_budget);
  out.seconds = seconds_since(started);
  return out;
}

std::optional<Recommendation> recommended(const SamplerComparison& comparison, double factor) {
  const double floor = comparison.reference.points.front().error;
  double best = std::numeric_limits<double>::infinity();
  for (const SolverCurve& curve : comparison.curves)
    for (const SolverPoint& point : curve.points)
      if (!curve.stochastic) best = std::min(best, std::max(point.error, floor));
  std::optional<Recommendation> found;
  for (const SolverCurve& curve : comparison.curves)
    for (const SolverPoint& point : curve.points) {
      if (curve.stochastic || std::max(point.error, floor) > factor * best) continue;
      const bool better = !found || std::pair(point.evaluations, point.error) <
                                        std::pair(found->point.evaluations, found->point.error);
      if (better) found = Recommendation{&curve, point, best};
    }
  return found;
}

}  // namespace tweedie
