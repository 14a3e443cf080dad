// Group B: score_sde's SDEs (sde_lib.py), from the tangents of our levels.
#include <cmath>
#include <numbers>

#include "forward_cases.h"
#include "peer_tables.h"
#include "score_sde_process.h"
#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"
#include "tweedie/process/sde.h"
#include "tweedie/tensor/levels.h"

namespace tweedie::reference {
namespace {

/// x_{i+1} = x_i + f x_i + G z for each example.
struct Steps {
  std::vector<double> f, G;
};

Steps continuous_steps(const SongSde& sde, const std::vector<double>& times) {
  Steps out;
  for (const double t : times) {
    const ForwardSde at = forward_sde(sde.schedule.at(std::max(t, sde.schedule.t_min)));
    out.f.push_back(at.drift);
    out.G.push_back(std::sqrt(at.diffusion_squared));
  }
  return out;
}

/// `discretize`: q(x_{i+1} | x_i) between neighbouring levels, or Euler and Maruyama's where the
/// peer has no levels.
Steps discrete_steps(const SongSde& sde, const std::vector<double>& times) {
  const double n = static_cast<double>(sde.steps);
  Steps out = continuous_steps(sde, times);
  for (size_t k = 0; k < times.size(); ++k) {
    if (!sde.discrete) {
      out.f[k] /= n;
      out.G[k] /= std::sqrt(n);
      continue;
    }
    const int64_t i = sde.index_of(times[k]);
    const Level s = sde.discrete(i - 1), t = sde.discrete(i);
    out.f[k] = t.alpha / s.alpha - 1;
    // From nothing to the first level of VE: its own variance.
    out.G[k] = std::sqrt(posterior(s, t).var_large);
  }
  return out;
}

Tensor column(const std::vector<double>& values, const Tensor& like) {
  std::vector<int64_t> sizes(static_cast<size_t>(like.dim()), 1);
  sizes[0] = static_cast<int64_t>(values.size());
  return to_tensor(values).reshape(sizes);
}

/// `reverse`: the drift less g^2 score, or half of it for the ODE, which has no diffusion.
void check_reverse(const std::string& name, const Steps& steps, bool ode, const Case& the_case,
                   Checker& checker) {
  const Tensor& x = the_case.tensor("x");
  if (name.ends_with(".drift") || name.ends_with(".discrete_f")) {
    checker.compare(name, column(steps.f, x) * x - (ode ? 0.5 : 1.0) * column(steps.G, x).square() *
                                                       the_case.tensor("score"));
  } else {
    check(name.ends_with(".diffusion") || name.ends_with(".discrete_G"), "tensor '", name,
          "' is not understood");
    const Tensor G = to_tensor(steps.G);
    checker.compare(name, ode ? at::zeros_like(G) : G);
  }
}

/// log N(x; 0, prior_std^2) of each example.
Tensor prior_log_density(const Schedule& schedule, const Tensor& x) {
  const double var = schedule.prior_std * schedule.prior_std;
  return -0.5 * (x.square() / var + std::log(2 * std::numbers::pi * var)).flatten(1).sum(1);
}

}  // namespace

void check_score_sde(const Case& the_case, Checker& checker) {
  check_known_keys(the_case.config, {"sde", "N", "beta_min", "beta_max", "sigma_min", "sigma_max"},
                   "config");
  const SongSde sde = song_sde(the_case.config);
  const Tensor& x = the_case.tensor("x");
  const std::vector<double> times = to_doubles(the_case.tensor("t"));
  std::vector<Level> levels;
  for (const double t : times) levels.push_back(sde.schedule.at(std::max(t, sde.schedule.t_min)));
  const Steps continuous = continuous_steps(sde, times), discrete = discrete_steps(sde, times);
  for (const auto& [name, expected] : the_case.tensors) {
    if (name == "t" || name == "x" || name == "score") continue;  // inputs
    if (name == "mean") {
      checker.compare(name, per_example(
                                levels, [](const Level& l) { return l.alpha; }, x) *
                                x);
    } else if (name == "std") {
      checker.compare(name, per_example(
                                levels, [](const Level& l) { return l.sigma; }, x)
                                .reshape({-1}));
    } else if (name == "drift") {
      checker.compare(name, column(continuous.f, x) * x);
    } else if (name == "diffusion") {
      checker.compare(name, to_tensor(continuous.G));
    } else if (name == "discrete_f") {
      checker.compare(name, column(discrete.f, x) * x);
    } else if (name == "discrete_G") {
      checker.compare(name, to_tensor(discrete.G));
    } else if (name == "prior_logp") {
      checker.compare(name, prior_log_density(sde.schedule, x));
    } else if (name.starts_with("reverse_sde.") || name.starts_with("reverse_ode.")) {
      check_reverse(name, name.find(".discrete") == std::string::npos ? continuous : discrete,
                    name.starts_with("reverse_ode."), the_case, checker);
    } else if ((name == "discrete_betas" || name == "discrete_sigmas") && sde.discrete) {
      checker.compare(name, to_tensor(sde.discrete_table()));
    } else {
      check(name == "alphas_cumprod" && sde.discrete, "tensor '", name, "' is not understood");
      std::vector<double> out;
      for (int64_t i = 0; i < sde.steps; ++i)
        out.push_back(sde.discrete(i).alpha * sde.discrete(i).alpha);
      checker.compare(name, to_tensor(out));
    }
  }
}

}  // namespace tweedie::reference
