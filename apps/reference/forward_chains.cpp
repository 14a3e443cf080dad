// Group B: chains of diffusers and improved-diffusion at given steps.
#include <algorithm>
#include <cmath>

#include "forward_cases.h"
#include "peer_tables.h"
#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/parameterisation.h"
#include "tweedie/process/posterior.h"
#include "tweedie/tensor/levels.h"

namespace tweedie::reference {
namespace {

using LevelList = std::vector<Level>;

/// The levels of steps counted from 0, and `back` steps before them.
LevelList levels_at(const Schedule& chain, const Tensor& steps, int64_t back = 0) {
  LevelList out;
  for (const double step : to_doubles(steps))
    out.push_back(step_level(chain, static_cast<int64_t>(step) + 1 - back));
  return out;
}

double alpha_of(const Level& level) { return level.alpha; }

/// x0 from a network's output F, as a sampler computes it.
Tensor x0_from(const Parameterisation& parameterisation, const Tensor& x_t, const Tensor& F,
               const LevelList& levels) {
  return per_example(
             levels, [&](const Level& l) { return parameterisation(l).c_skip; }, x_t) *
             x_t +
         per_example(
             levels, [&](const Level& l) { return parameterisation(l).c_out; }, x_t) *
             F;
}

/// A coefficient of q(x_{t-1} | x_t, x_0) for each example.
Tensor of_posterior(const LevelList& s, const LevelList& t, double Posterior::*part,
                    const Tensor& like) {
  size_t i = 0;
  return per_example(
      t, [&](const Level& l) { return posterior(s[i++], l).*part; }, like);
}

/// EulerDiscreteScheduler.add_noise: x0 + sigma noise at times of its own grid.
Tensor euler_add_noise(const Case& the_case, const Json& settings, int64_t length,
                       Checker& checker) {
  const std::vector<double> times = to_doubles(the_case.tensor("euler.timesteps_used"));
  const NoiseTable table(diffusers_chain(settings, length));
  checker.compatibility("diffusers linspace: steps between those of the chain");
  LevelList levels;
  for (const double t : times) {
    const double sigma = table.linear_at(t);
    levels.push_back({t, 1, sigma, 0, 1});
  }
  return diffuse(the_case.tensor("x0"), levels, the_case.tensor("noise"));
}

/// Places of times in the smallest "linspace" grid that has them all.
Tensor places_in_grid(const std::vector<double>& times, int64_t length) {
  for (int64_t steps = 2; steps <= length; ++steps) {
    const std::vector<double> grid = diffusers_timesteps(
        length, steps, {.spacing = DiffusersSpacing::linspace, .fractional = true});
    std::vector<double> places;
    for (const double t : times) {
      const auto at = std::find_if(grid.begin(), grid.end(),
                                   [&](double of_grid) { return std::abs(of_grid - t) < 1e-9; });
      if (at != grid.end()) places.push_back(static_cast<double>(at - grid.begin()));
    }
    if (places.size() == times.size()) return to_tensor(places);
  }
  fail("euler.timesteps_used: in no linspace grid of the chain");
  return {};
}

/// normal_kl(q(x_T | x_0), N(0, I)) in bits a dimension, averaged over the dimensions.
Tensor prior_bits(const Schedule& chain, const Tensor& x0) {
  std::vector<double> out;
  for (const double square : to_doubles(x0.square().flatten(1).mean(1)))
    out.push_back(bits_per_dim(terminal_mismatch_nats(chain, square), 1));
  return to_tensor(out);
}

}  // namespace

void check_add_noise(const Case& the_case, Checker& checker) {
  const int64_t length = static_cast<int64_t>(number_of(the_case.config, "num_train_timesteps"));
  const Tensor &x0 = the_case.tensor("x0"), &noise = the_case.tensor("noise"),
               &t = the_case.tensor("t");
  for (const auto& [name, expected] : the_case.tensors) {
    const std::vector<std::string> parts = name_parts(name);
    if (parts.size() == 1 || parts[1] == "timesteps_used") {
      check(name == "x0" || name == "noise" || name == "t" || name == "euler.timesteps_used",
            "tensor '", name, "' is not understood");
      continue;  // inputs
    }
    // The pack's Euler scheduler is made with the settings of latent diffusion.
    const std::string label = parts[0] == "euler" ? "scl" : parts[0];
    const Json settings = the_case.config.value(parts[0], the_case.config.value(label, Json()));
    check(settings.is_object(), "config has no settings '", label, "' for tensor '", name, "'");
    const bool misread = name == "euler.get_velocity";
    if (misread)
      checker.compatibility(
          "diffusers EulerDiscreteScheduler.get_velocity: alpha_bar of the place in the grid");
    const LevelList levels = levels_at(
        diffusers_chain(settings, length),
        misread ? places_in_grid(to_doubles(the_case.tensor("euler.timesteps_used")), length) : t);
    if (name == "euler.add_noise") {
      checker.compare(name, euler_add_noise(the_case, settings, length, checker));
    } else if (parts[1] == "add_noise") {
      checker.compare(name, diffuse(x0, levels, noise));
    } else {
      check(parts[1] == "get_velocity", "tensor '", name, "' is not understood");
      checker.compare(name, v_from_x0(diffuse(x0, levels, noise), x0, levels));
    }
  }
}

void check_improved_q(const Case& the_case, Checker& checker) {
  check_known_keys(the_case.config, {"schedule", "T"}, "config");
  const Schedule chain = improved_chain(the_case.config);
  const Tensor &x0 = the_case.tensor("x0"), &noise = the_case.tensor("noise"),
               &other = the_case.tensor("other"), &x_t = the_case.tensor("x_t"),
               &steps = the_case.tensor("t");
  const LevelList t = levels_at(chain, steps), s = levels_at(chain, steps, 1);
  const auto each = [&](double (*f)(const Level&)) { return per_example(t, f, x0).expand_as(x0); };
  const auto part = [&](double Posterior::*p) { return of_posterior(s, t, p, x0).expand_as(x0); };
  for (const auto& [name, expected] : the_case.tensors) {
    if (name == "x0" || name == "noise" || name == "t" || name == "other") continue;  // inputs
    Tensor got;
    if (name == "x_t") {
      got = diffuse(x0, t, noise);
    } else if (name == "q_mean") {
      got = per_example(t, alpha_of, x0) * x0;
    } else if (name == "q_variance") {
      got = each([](const Level& l) { return l.sigma * l.sigma; });
    } else if (name == "q_log_variance") {
      got = each([](const Level& l) { return 2 * std::log(l.sigma); });
    } else if (name == "posterior_mean") {
      got = part(&Posterior::c_x0) * x0 + part(&Posterior::c_x) * x_t;
    } else if (name == "posterior_variance") {
      got = part(&Posterior::var);
    } else if (name == "posterior_log_variance_clipped") {
      // Step 1, whose posterior is certain, takes the variance of step 2.
      const double floor = posterior(step_level(chain, 1), step_level(chain, 2)).var;
      got = at::where(part(&Posterior::var) > 0, part(&Posterior::var),
                      at::scalar_tensor(floor, at::kDouble))
                .log();
    } else if (name == "xstart_from_eps") {
      got = x0_from(eps_prediction([](const Level& l) { return l.t; }), x_t, other, t);
    } else if (name == "xstart_from_xprev") {
      got = (other - part(&Posterior::c_x) * x_t) / part(&Posterior::c_x0);
    } else if (name == "eps_from_xstart") {
      got = eps_from_x0(x_t, other, t);
    } else {
      check(name == "prior_bpd", "tensor '", name, "' is not understood");
      got = prior_bits(chain, x0);
    }
    checker.compare(name, got);
  }
}

}  // namespace tweedie::reference
