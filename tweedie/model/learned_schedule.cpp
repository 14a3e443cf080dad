#include "tweedie/model/learned_schedule.h"

#include <cmath>
#include <numbers>

#include "tweedie/base/error.h"
#include "tweedie/process/tabulated.h"

namespace tweedie {
namespace {

constexpr int64_t kHidden = 64;        // sigmoids, their middles evenly spread over [0, 1]
constexpr int64_t kMostLevels = 4096;  // that the decoder lists
constexpr double kSteepness = 8.0;     // of each at first: eight times its distance to the ends

Tensor f64_of(const Tensor& parameter) { return parameter.to(at::kDouble); }

/// Coefficients [B] ready to multiply x [B, ...].
Tensor beside(const Tensor& of_example, const Tensor& x) {
  std::vector<int64_t> sizes(static_cast<size_t>(x.dim()), 1);
  sizes[0] = of_example.size(0);
  return of_example.to(x.options()).view(sizes);
}

/// KL(q(z_1 | x_0) || N(0, 1)), nats for each dimension [B].
Tensor prior_term(const Tensor& x0, const Tensor& gamma_max) {
  const Tensor mean_square = x0.to(at::kDouble).square().flatten(1).mean(1);
  return 0.5 * (at::sigmoid(-gamma_max) * mean_square + at::sigmoid(gamma_max) - 1 -
                at::log_sigmoid(gamma_max));
}

/// -log p(x_0 | z_0), nats for each dimension [B]: z_0 / alpha = x_0 + exp(gamma / 2) eps.  Its
/// slope in gamma is taken here, one example after another: the graph of [B, D, levels] would be
/// large.
Tensor decoder_term(const Tensor& x0, const Tensor& eps, const Tensor& gamma_min, int64_t levels) {
  if (levels == 0)
    return (0.5 * (std::log(2 * std::numbers::pi) + 1 + gamma_min)).expand({x0.size(0)});
  std::vector<Tensor> value, slope;
  {
    const torch::NoGradGuard no_grad;
    const double last = static_cast<double>(levels - 1);
    const Tensor gamma = gamma_min.detach();
    for (int64_t i = 0; i < x0.size(0); ++i) {
      const Tensor x = x0[i].flatten().to(at::kDouble).unsqueeze(1);  // [D, 1]
      const Tensor noise = (0.5 * gamma).exp() * eps[i].flatten().to(at::kDouble).unsqueeze(1);
      const Tensor values = at::arange(levels, x.options()) * (2 / last) - 1;
      const Tensor apart = x + noise - values;  // [D, levels]
      const Tensor half_precision = 0.5 * (-gamma).exp();
      const Tensor log_p = (-half_precision * apart.square()).log_softmax(1);
      // Of a logit: apart depends on gamma by half of the noise.
      const Tensor of_logit = half_precision * apart * (apart - noise);
      const Tensor k = ((x + 1) * (0.5 * last)).round().to(at::kLong);
      value.push_back(-log_p.gather(1, k).mean());
      slope.push_back(((log_p.exp() * of_logit).sum(1, true) - of_logit.gather(1, k)).mean());
    }
  }
  return at::stack(value) + at::stack(slope) * (gamma_min - gamma_min.detach());
}

}  // namespace

MonotoneGamma::MonotoneGamma(double gamma_min, double gamma_max)
    : first_gamma_(gamma_min), first_range_(gamma_max - gamma_min) {
  check(std::isfinite(first_range_) && first_range_ > 0,
        "learned schedule: expected gamma_min < gamma_max, got ", gamma_min, " and ", gamma_max);
  const auto parameter = [this](const char* name, const Tensor& value) {
    return register_parameter(name, value.to(at::kFloat));
  };
  const Tensor middles = (at::arange(kHidden, at::kDouble) + 0.5) / static_cast<double>(kHidden);
  slope_ = parameter("slope", at::zeros({1}));
  offset_ = parameter("offset", at::zeros({1}));
  hidden_slopes_ = parameter("hidden_slopes", at::full({kHidden}, std::log(kSteepness)));
  hidden_offsets_ = parameter("hidden_offsets", -kSteepness * middles);
  weights_ = parameter("weights", at::full({kHidden}, -std::log(static_cast<double>(kHidden))));
  gamma_min_shift_ = parameter("gamma_min_shift", at::zeros({1}));
  log_range_shift_ = parameter("log_range_shift", at::zeros({1}));
}

MonotoneGamma::Interior MonotoneGamma::interior(const Tensor& t) const {
  const Tensor slope = f64_of(slope_).exp(), hidden_slopes = f64_of(hidden_slopes_).exp(),
               weights = f64_of(weights_).exp();
  const Tensor ends = at::tensor({0.0, 1.0}, t.options());
  const Tensor h = at::cat({t, ends}) * slope + f64_of(offset_);  // [B + 2]
  const Tensor s = at::sigmoid(h.unsqueeze(1) * hidden_slopes + f64_of(hidden_offsets_));
  const Tensor curve = h + at::mv(s, weights);
  const Tensor rate = slope * (1 + at::mv(s * (1 - s), weights * hidden_slopes));
  const int64_t count = t.size(0);
  const Tensor low = curve[count], height = curve[count + 1] - curve[count];
  return {(curve.narrow(0, 0, count) - low) / height, rate.narrow(0, 0, count) / height};
}

MonotoneGamma::Ends MonotoneGamma::ends() const {
  return {first_gamma_ + f64_of(gamma_min_shift_), first_range_ * f64_of(log_range_shift_).exp()};
}

Tensor MonotoneGamma::label(const Tensor& gamma) const {
  return (gamma - first_gamma_) * (1000 / first_range_);
}
double MonotoneGamma::label(double gamma) const {
  return (gamma - first_gamma_) * (1000 / first_range_);
}

Tensor MonotoneGamma::table(int64_t size) const {
  const torch::NoGradGuard no_grad;
  const Interior inside = interior(at::linspace(0, 1, size, slope_.options().dtype(at::kDouble)));
  const Ends e = ends();
  return at::stack({e.gamma_min + inside.share * e.range, inside.rate * e.range}).cpu();
}

Schedule frozen_schedule(const Tensor& table) {
  check(table.dim() == 2 && table.size(0) == 2 && table.scalar_type() == at::kDouble,
        "learned schedule: expected a table of shape [2, knots] in doubles, got ", table.sizes());
  const auto row = [&](int64_t i) {
    const Tensor values = table[i].cpu().contiguous();
    return std::vector<double>(values.data_ptr<double>(),
                               values.data_ptr<double>() + values.numel());
  };
  return tabulated_schedule("learned", row(0), row(1));
}

Tensor learned_schedule_loss(Network& network, const MonotoneGamma& gamma, const Batch& batch,
                             const Tensor& t, const Tensor& eps, int64_t levels) {
  check(batch.x.size(0) >= 1, "learned schedule: the batch is empty");
  check(levels == 0 || (levels >= 2 && levels <= kMostLevels),
        "learned schedule: needs data of 2 to ", kMostLevels, " levels, or continuous data, got ",
        levels);
  const MonotoneGamma::Interior inside = gamma.interior(t);
  const MonotoneGamma::Ends ends = gamma.ends();
  const Tensor at_t = ends.gamma_min + inside.share * ends.range;  // [B]
  const Tensor alpha = at::sigmoid(-at_t).sqrt(), sigma = at::sigmoid(at_t).sqrt();
  const Tensor x_t = beside(alpha, batch.x) * batch.x + beside(sigma, batch.x) * eps;
  const Tensor output =
      network.forward(x_t, gamma.label(at_t).to(batch.x.scalar_type()), batch.condition);
  check(output.sizes() == x_t.sizes(), "learned schedule: for input of shape ", x_t.sizes(),
        " the network gave ", output.sizes(), "; expected eps of that shape");
  const Tensor error = (eps - output.to(eps.scalar_type())).square().flatten(1).mean(1);
  const Tensor diffusion = 0.5 * inside.rate * ends.range * error.to(at::kDouble);
  if (inside.share.requires_grad()) {
    // d L^2 = 2 L d L: what arrives is d L of each example.
    const Tensor twice = diffusion.detach() * (8 / ends.range.detach().square());
    for (const Tensor& of_interior : {inside.share, inside.rate})
      of_interior.register_hook([twice](const Tensor& gradient) { return gradient * twice; });
  }
  return diffusion + prior_term(batch.x, ends.gamma_min + ends.range) +
         decoder_term(batch.x, eps, ends.gamma_min, levels);
}

}  // namespace tweedie
