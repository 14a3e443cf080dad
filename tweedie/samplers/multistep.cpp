#include "tweedie/samplers/multistep.h"

#include <deque>

#include "tweedie/base/error.h"
#include "tweedie/samplers/exponential.h"
#include "tweedie/samplers/walk.h"

namespace tweedie {
namespace {

constexpr int64_t kFewSteps = 15;  // below which high orders at the end do harm (dpm-solver)

struct Known {
  double node;  // half log-SNR
  Tensor prediction;
};

/// keep x + sum_j weight_j m_j + noise z, in memory of its own.
Tensor combined(const StepWeights& weights, const Tensor& x, const std::vector<Known>& known,
                const Tensor& z) {
  Tensor out = weights.keep * x;
  for (size_t j = 0; j < known.size(); ++j)
    if (weights.prediction[j] != 0) out.add_(known[j].prediction, weights.prediction[j]);
  if (z.defined()) out.add_(z, weights.noise);
  return out;
}

std::vector<double> nodes_of(const std::vector<Known>& known) {
  std::vector<double> nodes;
  for (const Known& one : known) nodes.push_back(one.node);
  return nodes;
}

int64_t order_of(const MultistepOptions& options, int64_t index, int64_t steps) {
  if (!options.orders.empty()) {
    check(static_cast<int64_t>(options.orders.size()) == steps,
          "multistep: ", options.orders.size(), " orders for ", steps, " steps");
    return std::min(options.orders[static_cast<size_t>(index)], index + 1);
  }
  const int64_t order = std::min(options.order, index + 1);
  return options.lower_final && steps < kFewSteps ? std::min(order, steps - index) : order;
}

/// The noise of a step from the level of this index; none reaches clean data.
double eta_of(const MultistepOptions& options, size_t index, const Path& path) {
  if (path[index + 1].sigma == 0) return 0;
  return options.etas.empty() ? options.eta : options.etas[index];
}

void check_etas(const MultistepOptions& options, size_t steps) {
  check(options.etas.empty() || options.etas.size() == steps, "multistep: ", options.etas.size(),
        " etas for ", steps, " steps");
}

}  // namespace

Sampler multistep(MultistepOptions options) {
  check(options.order >= 1 && options.order <= 6, "multistep: expected an order of 1 to 6, got ",
        options.order);
  for (const int64_t order : options.orders)
    check(order >= 1 && order <= 6, "multistep: expected orders of 1 to 6, got ", order);
  check(options.eta >= 0, "multistep: expected eta >= 0, got ", options.eta);
  for (const double eta : options.etas) check(eta >= 0, "multistep: expected etas >= 0, got ", eta);
  check(options.corrector == 0 || options.corrector >= 2,
        "multistep: a corrector needs 2 predictions or more (0: none), got ", options.corrector);
  const Form form = form_named(options.form, "multistep");
  const Closure closure = closure_named(options.closure, "multistep");
  return [=](const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
             const Noise& noise, const Observer& observe) {
    const int64_t steps = static_cast<int64_t>(path.size()) - 1;
    check_etas(options, path.size() - 1);
    int64_t kept = std::max(options.order, options.corrector);
    for (const int64_t order : options.orders) kept = std::max(kept, order);
    std::deque<Known> history;  // newest first
    Tensor start, z;            // of the step before: where it began, and its noise
    int64_t last_order = 0;
    return walk(
        "multistep", x, path, observe,
        [&](const Tensor& predicted, const Level& t, const Level& s, int64_t i) {
          const Tensor x0 = denoiser(predicted, t, condition).x0;
          history.push_front(
              {half_log_snr(t), form == Form::x0 ? x0 : eps_from_x0(predicted, x0, t)});
          Tensor state = predicted;
          if (options.corrector > 0 && i > 0 &&
              std::count(options.uncorrected.begin(), options.uncorrected.end(), i - 1) == 0) {
            // The nodes of the step before in their order, its own first; the new one last.
            const int64_t used = std::min(options.corrector, last_order + 1);
            std::vector<Known> known(history.begin() + 1, history.begin() + used);
            known.push_back(history.front());
            const size_t before = static_cast<size_t>(i - 1);
            state =
                combined(exponential_step(path[before], t, form, nodes_of(known), closure,
                                          eta_of(options, before, path), options.half_curvature),
                         start, known, z);
          }
          const int64_t order = order_of(options, i, steps);
          const std::vector<Known> known(history.begin(), history.begin() + order);
          const double eta = eta_of(options, static_cast<size_t>(i), path);
          const StepWeights weights =
              exponential_step(t, s, form, nodes_of(known), closure, eta, options.half_curvature);
          z = eta > 0 ? noise(state, t, s) : Tensor();
          const Tensor next = combined(weights, state, known, z);
          start = state;
          last_order = order;
          if (static_cast<int64_t>(history.size()) > kept) history.pop_back();
          return Stepped{next, x0};
        });
  };
}

}  // namespace tweedie
