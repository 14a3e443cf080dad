#include "tweedie/model/objective.h"

#include "tweedie/base/error.h"
#include "tweedie/model/squared_error.h"

namespace tweedie {
namespace {

std::vector<Level> levels_at(const Path& chain, at::ArrayRef<int64_t> places) {
  std::vector<Level> levels;
  for (const int64_t place : places) levels.push_back(chain.at(static_cast<size_t>(place)));
  return levels;
}

/// Weighted error of F against its own target.  With x_t = alpha x0 + sigma eps, the F that makes
/// the x0 prediction exact is (x0 - c_skip x_t) / c_out, and an error e of F is an eps error of
/// c_out alpha / sigma e.
Tensor weighted_error(const NetworkOutput& output, const Objective& objective, const Batch& batch,
                      Levels levels, const Tensor& eps) {
  size_t next = 0;
  const auto with = [&](const auto& value) {
    next = 0;
    return per_example(
        levels, [&](const Level& l) { return value(l, output.scalings[next++]); }, batch.x);
  };
  const Tensor of_x0 =
      with([](const Level& l, const Scaling& s) { return (1 - s.c_skip * l.alpha) / s.c_out; });
  const Tensor of_eps =
      with([](const Level& l, const Scaling& s) { return -s.c_skip * l.sigma / s.c_out; });
  const Tensor weight = with([&](const Level& l, const Scaling& s) {
    const double ratio = objective.error == ErrorOf::eps ? s.c_out * l.alpha / l.sigma : 1;
    return objective.weight(l) * ratio * ratio;
  });
  return weighted_squared_error(output.value, {batch.x, eps, of_x0, of_eps}, weight.flatten());
}

/// T times the bound's term at each example's level, in nats for each dimension [B].
Tensor bound_term(const Prediction& prediction, const Tensor& x_t, const Batch& batch,
                  const Path& chain, at::ArrayRef<int64_t> places, Variance variance,
                  const Decoder& decoder) {
  const int64_t last = static_cast<int64_t>(chain.size()) -
                       (chain.back().sigma == 0 ? 2 : 1);  // the first noisy level
  check(last >= 1, "bound as loss: needs a chain of at least 2 steps");
  const double scale = static_cast<double>(last + 1) / static_cast<double>(batch.x[0].numel());
  std::vector<Level> s, t;
  std::vector<int64_t> decoded;
  for (size_t i = 0; i < places.size(); ++i) {
    const bool first_noisy = places[i] == last;
    if (first_noisy) decoded.push_back(static_cast<int64_t>(i));
    // The decoder's rows are computed with any pair and replaced below.
    const size_t place = static_cast<size_t>(first_noisy ? last - 1 : places[i]);
    t.push_back(chain[place]);
    s.push_back(chain[place + 1]);
  }
  Tensor terms = diffusion_term(prediction, x_t, s, t, variance, batch.x);
  if (!decoded.empty()) {
    const Tensor rows = at::tensor(decoded, at::kLong).to(batch.x.device());
    const auto of_rows = [&](const Tensor& x) { return x.defined() ? x.index_select(0, rows) : x; };
    const Tensor nats = -decoder({of_rows(prediction.x0), of_rows(prediction.var_mix)},
                                 of_rows(x_t), chain[static_cast<size_t>(last)], of_rows(batch.x));
    terms = terms.index_copy(0, rows, nats.to(terms.scalar_type()));
  }
  return scale * terms;
}

}  // namespace

Tensor denoising_loss(Network& network, const Parameterisation& parameterisation,
                      const Objective& objective, const Batch& batch, Levels levels,
                      const Tensor& eps) {
  const Tensor x_t = diffuse(batch.x, levels, eps);
  return weighted_error(run_network(network, parameterisation, x_t, levels, batch.condition),
                        objective, batch, levels, eps);
}

Tensor hybrid_loss(Network& network, const Parameterisation& parameterisation,
                   const Objective& objective, const Batch& batch, const Path& chain,
                   at::ArrayRef<int64_t> places, const Tensor& eps, const Decoder& decoder) {
  const std::vector<Level> levels = levels_at(chain, places);
  const Tensor x_t = diffuse(batch.x, levels, eps);
  const NetworkOutput output = run_network(network, parameterisation, x_t, levels, batch.condition);
  check(output.variance.defined(),
        "hybrid loss: the network has no learned variance; set model.variance=learned");
  const NetworkOutput frozen{output.value.detach(), output.variance, output.scalings};
  const Tensor term = bound_term(prediction_of(frozen, x_t, levels), x_t, batch, chain, places,
                                 Variance::learned, decoder);
  return weighted_error(output, objective, batch, levels, eps) + objective.vlb_weight * term;
}

Tensor vlb_loss(Network& network, const Parameterisation& parameterisation, const Batch& batch,
                const Path& chain, at::ArrayRef<int64_t> places, const Tensor& eps,
                Variance variance, const Decoder& decoder) {
  const std::vector<Level> levels = levels_at(chain, places);
  const Tensor x_t = diffuse(batch.x, levels, eps);
  const NetworkOutput output = run_network(network, parameterisation, x_t, levels, batch.condition);
  return bound_term(prediction_of(output, x_t, levels), x_t, batch, chain, places, variance,
                    decoder);
}

}  // namespace tweedie
