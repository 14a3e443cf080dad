#include "tweedie/samplers/single_step.h"

#include <cmath>

#include <torch/utils.h>

#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

struct Stage {
  std::vector<double> nodes;  // half log-SNR of each level
  Tensor prediction, x0;
};

Stage stage_at(const Evaluate& evaluate, const Tensor& x, Levels levels, Form form) {
  std::vector<double> nodes;
  for (const Level& level : levels) nodes.push_back(half_log_snr(level));
  const Tensor x0 = evaluate(x, levels);
  return {std::move(nodes), form == Form::x0 ? x0 : eps_from_x0(x, x0, levels), x0};
}

Tensor advanced(const Tensor& x, Levels t, Levels s, Form form, Closure closure,
                const std::vector<const Stage*>& stages) {
  std::vector<StepWeights> weights;  // of each level
  for (size_t i = 0; i < t.size(); ++i) {
    std::vector<double> nodes;
    for (const Stage* stage : stages) nodes.push_back(stage->nodes[i]);
    weights.push_back(exponential_step(t[i], s[i], form, nodes, closure));
  }
  size_t i = 0;
  Tensor out = per_example(
                   t, [&](const Level&) { return weights[i++].keep; }, x) *
               x;
  for (size_t j = 0; j < stages.size(); ++j) {
    i = 0;
    out.addcmul_(per_example(
                     t, [&](const Level&) { return weights[i++].prediction[j]; }, x),
                 stages[j]->prediction);
  }
  return out;
}

/// The k-th of the path's groups: how many levels each takes.
std::vector<int64_t> orders_of(const SingleStepOptions& options, const Path& path) {
  if (!options.orders.empty()) return options.orders;
  const int64_t steps = static_cast<int64_t>(path.size()) - 1;
  if (options.stages == "between")
    return std::vector<int64_t>(static_cast<size_t>(steps), options.order);
  // As DPM-Solver's "fast" version: whole groups, the last evaluations in falling order.
  std::vector<int64_t> orders;
  int64_t left = steps;
  while (left > options.order) orders.push_back(options.order), left -= options.order;
  if (path.back().sigma == 0 && left > 1)
    orders.push_back(left - 1), left = 1;  // the step to clean data has order 1
  orders.push_back(left);
  return orders;
}

}  // namespace

AncestralSplit ancestral_split(const Level& t, const Level& s, double eta, double least) {
  if (eta == 0 || s.sigma == 0) return {s, 0};
  const double up = std::min(s.sigma, eta * std::sqrt(posterior(s, t).var));
  Level down = s;
  down.sigma = std::max(std::sqrt(s.sigma * s.sigma - up * up), std::min(s.sigma, least * s.alpha));
  return {down, std::sqrt(s.sigma * s.sigma - down.sigma * down.sigma)};
}

SingleStep take_single_step(const Evaluate& evaluate, const Tensor& x, Levels t,
                            const std::vector<std::vector<Level>>& inner, Levels s, Form form,
                            Closure closure, bool estimate) {
  const Stage first = stage_at(evaluate, x, t, form);
  if (inner.empty() || s.front().sigma == 0)
    return {advanced(x, t, s, form, Closure::exact, {&first}), x, first.x0};
  const Stage second =
      stage_at(evaluate, advanced(x, t, inner[0], form, Closure::exact, {&first}), inner[0], form);
  if (inner.size() == 1)
    return {advanced(x, t, s, form, closure, {&first, &second}),
            estimate ? advanced(x, t, s, form, Closure::exact, {&first}) : Tensor(), first.x0};
  check(inner.size() == 2, "single_step: has orders 1 to 3, got ", inner.size() + 1);
  const Stage third = stage_at(
      evaluate, advanced(x, t, inner[1], form, Closure::exact, {&first, &second}), inner[1], form);
  const std::vector<const Stage*> used = closure == Closure::half
                                             ? std::vector<const Stage*>{&first, &third}
                                             : std::vector<const Stage*>{&first, &second, &third};
  return {advanced(x, t, s, form, Closure::exact, used),
          estimate ? advanced(x, t, s, form, closure, {&first, &second}) : Tensor(), first.x0};
}

Sampler single_step(SingleStepOptions options) {
  check(options.order >= 1 && options.order <= 3, "single_step: expected an order of 1 to 3, got ",
        options.order);
  check(options.stages == "between" || options.stages == "path", "single_step: unknown stages '",
        options.stages, "'", suggestion(options.stages, {"between", "path"}));
  check(options.eta >= 0, "single_step: expected eta >= 0, got ", options.eta);
  check(!options.noisy_stages || options.order == 2,
        "single_step: noise at the inner level is for order 2, got order ", options.order);
  for (const int64_t order : options.orders)
    check(order >= 1 && order <= 3, "single_step: expected orders of 1 to 3, got ", order);
  const Form form = form_named(options.form, "single_step");
  const Closure closure = closure_named(options.closure, "single_step");
  return [=](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
             const Noise& noise, const Observer& observe) {
    const torch::NoGradGuard no_grad;
    if (path.size() < 2) return x;
    const Evaluate evaluate = [&](const Tensor& state, Levels levels) {
      return denoiser(state, levels, condition).x0;
    };
    const bool between = options.stages == "between";
    check(!between || path.between,
          "single_step: this path does not know the levels between its own; take stages=path");
    // A path that stops at noise is not left below its end.
    const double least = path.back().sigma / path.back().alpha;
    size_t at = 0;
    int64_t index = 0;
    for (const int64_t order : orders_of(options, path)) {
      const size_t end = at + static_cast<size_t>(between ? 1 : order);
      check(end < path.size(), "single_step: the orders need more levels than the path's ",
            path.size());
      const Level &t = path[at], &s = path[end];
      const AncestralSplit split = ancestral_split(t, s, options.eta, least);
      std::vector<Level> inner;
      if (!between) {
        inner.assign(path.begin() + static_cast<int64_t>(at) + 1,
                     path.begin() + static_cast<int64_t>(end));
      } else if (order > 1 && s.sigma > 0 && t.alpha > 0) {
        const double from = log_snr(t), to = log_snr(options.noisy_stages ? s : split.down);
        const double r1 = options.r1 > 0 ? options.r1
                          : order == 3   ? 1.0 / 3
                                         : 0.5,
                     r2 = options.r2 > 0 ? options.r2 : 2.0 / 3;
        inner.push_back(path.between(from + r1 * (to - from)));
        if (order == 3) inner.push_back(path.between(from + r2 * (to - from)));
      }
      SingleStep done;
      if (options.noisy_stages && inner.size() == 1) {
        // k-diffusion's form of SDE-DPM-Solver++(2S): both moves are split into going down and
        // noise.
        Stage first = stage_at(evaluate, x, t, form);
        const AncestralSplit halfway = ancestral_split(t, inner[0], options.eta);
        Tensor middle = advanced(x, t, halfway.down, form, Closure::exact, {&first});
        if (halfway.std > 0) middle.add_(noise(x, t, inner[0]), halfway.std);
        Stage second = stage_at(evaluate, middle, inner[0], form);
        // The inner level's share of the whole step is kept for the step down.
        const double from = first.nodes[0];
        second.nodes[0] = from + (second.nodes[0] - from) / (half_log_snr(s) - from) *
                                     (half_log_snr(split.down) - from);
        done = {advanced(x, t, split.down, form, closure, {&first, &second}), {}, first.x0};
      } else {
        std::vector<std::vector<Level>> stages;
        for (const Level& level : inner) stages.push_back({level});
        done = take_single_step(evaluate, x, t, stages, split.down, form, closure, false);
      }
      x = split.std > 0 ? done.high.add_(noise(x, t, s), split.std) : done.high;
      check_finite(x, "single_step", index, t);
      if (observe) observe({index, t, s, x, done.x0});
      ++index;
      at = end;
    }
    check(at + 1 == path.size(), "single_step: the orders leave ", path.size() - 1 - at,
          " levels of the path unused");
    return x;
  };
}

}  // namespace tweedie
