// Group A: k-diffusion's noise levels, ancestral steps and wrappers.
#include <algorithm>
#include <cmath>

#include "diffusers_grids.h"
#include "schedule_cases.h"
#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/parameterisation.h"
#include "tweedie/process/path.h"
#include "tweedie/process/posterior.h"

namespace tweedie::reference {
namespace {

/// The exponents that a name abbreviates as "rho7" or "rho2.5".
double rho_of(const std::vector<std::string>& parts, const std::string& name) {
  std::string text = parts.at(2);
  for (size_t i = 3; i < parts.size(); ++i) text += "." + parts[i];
  check(text.starts_with("rho"), "tensor '", name, "': expected rho<number> at its end");
  size_t used = 0;
  const double rho = std::stod(text.substr(3), &used);
  check(used == text.size() - 3, "tensor '", name, "': expected rho<number> at its end");
  return rho;
}

std::vector<double> polyexponential_ratios(double least, double most, int64_t steps, double rho) {
  std::vector<double> out;
  for (const double ramp : numpy_linspace(1, 0, steps))
    out.push_back(
        std::exp(std::log(least) + std::pow(ramp, rho) * (std::log(most) - std::log(least))));
  return out;
}

/// get_ancestral_step: the noise to go down to and to add again, columns [down, up].  The most that
/// may be added is the posterior's.
Tensor ancestral_steps(const Tensor& from_to_eta) {
  const std::vector<double> rows = to_doubles(from_to_eta);
  std::vector<double> out;
  for (size_t i = 0; i + 2 < rows.size(); i += 3) {
    const Level from{rows[i], 1, rows[i], 0, 1}, to{rows[i + 1], 1, rows[i + 1], 0, 1};
    const double up = std::min(to.sigma, rows[i + 2] * std::sqrt(posterior(to, from).var));
    out.push_back(std::sqrt(to.sigma * to.sigma - up * up));
    out.push_back(up);
  }
  return to_tensor(out).reshape({-1, 2});
}

template <class Function>
Tensor each(const Tensor& inputs, const Function& f) {
  std::vector<double> out;
  for (const double x : to_doubles(inputs)) out.push_back(f(x));
  return to_tensor(out).reshape(inputs.sizes());
}

/// A wrapper's scalings, for the variable x_t / alpha, from ours of the variance-preserving x_t.
Scaling wrapped(const Parameterisation& parameterisation, double ratio) {
  const double alpha = 1 / std::hypot(1.0, ratio);
  const Level level{ratio, alpha, ratio * alpha, 0, 0};
  const Scaling s = parameterisation(level);
  return {s.c_skip * alpha, s.c_out, s.c_in * alpha, s.c_noise};
}

std::vector<double> falling_sigmas(const NoiseTable& table, const std::string& count) {
  std::vector<double> out;
  if (count == "all") {
    out.assign(table.ratios().rbegin(), table.ratios().rend());
  } else {
    const double last = static_cast<double>(table.ratios().size() - 1);
    for (const double t : numpy_linspace(last, 0, number_in(count)))
      out.push_back(table.log_linear_at(t));
  }
  out.push_back(0);
  return out;
}

}  // namespace

void check_kdiffusion_sigmas(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  check_known_keys(config, {"n", "sigma_min", "sigma_max", "rho"}, "config");
  const double least = number_of(config, "sigma_min"), most = number_of(config, "sigma_max");
  for (const auto& [name, expected] : the_case.tensors) {
    if (name == "ancestral.from_to_eta") continue;  // the input
    if (name == "ancestral.down_up") {
      checker.compare(name, ancestral_steps(the_case.tensor("ancestral.from_to_eta")));
      continue;
    }
    const std::vector<std::string> parts = name_parts(name);
    check(parts.size() >= 2, "tensor '", name, "': expected <kind>.<n>[.rho<rho>]");
    const int64_t steps = number_in(parts[1]);
    std::vector<double> sigmas;
    if (parts[0] == "karras") {
      sigmas = karras_ratios(least, most, steps, rho_of(parts, name));
    } else if (parts[0] == "polyexponential") {
      sigmas = polyexponential_ratios(least, most, steps, rho_of(parts, name));
    } else if (parts[0] == "exponential") {
      sigmas = exponential_ratios(least, most, steps);
    } else {
      check(parts[0] == "vp", "tensor '", name, "' is not understood");
      // get_sigmas_vp's defaults: beta_d = 19.9, beta_min = 0.1, eps_s = 1e-3.
      sigmas = noise_ratios(bound_path(vp_linear(0.1, 20, 1e-3), steps - 1));
    }
    sigmas.push_back(0);
    checker.compare(name, to_tensor(sigmas));
  }
}

void check_kdiffusion_external(const Case& the_case, Checker& checker) {
  check_known_keys(the_case.config, {"alphas_cumprod"}, "config");
  const Schedule chain = diffusers_chain(the_case.config.at("alphas_cumprod"),
                                         the_case.tensor("alphas_cumprod").numel());
  const NoiseTable table(chain);
  const auto label = [](const Level& level) { return level.t; };
  const Parameterisation eps = eps_prediction(label), v = v_prediction(label);
  // The angle of v-diffusion's time is that of the cosine schedule.
  const Schedule angle = cosine(1e-12, 1 - 1e-12);
  const Tensor& sigma = the_case.tensor("sigma_to_t.sigma");
  const auto compare = [&](const std::string& name, const Tensor& inputs, const auto& f) {
    checker.compare(name, each(inputs, f));
  };
  for (const auto& [name, expected] : the_case.tensors) {
    if (name == "sigma_to_t.sigma" || name == "t_to_sigma.t") continue;  // inputs
    if (name == "alphas_cumprod") {
      std::vector<double> out;
      for (int64_t i = 1; i <= chain.steps; ++i)
        out.push_back(step_level(chain, i).alpha * step_level(chain, i).alpha);
      checker.compare(name, to_tensor(out));
    } else if (name.starts_with("get_sigmas.")) {
      checker.compare(name, to_tensor(falling_sigmas(table, name_parts(name).back())));
    } else if (name == "t_to_sigma.sigma") {
      compare(name, the_case.tensor("t_to_sigma.t"),
              [&](double t) { return table.log_linear_at(t); });
    } else if (name == "sigma_to_t.quantize0") {
      compare(name, sigma, [&](double s) { return table.time_of(s); });
    } else if (name == "sigma_to_t.quantize1") {
      compare(name, sigma, [&](double s) { return static_cast<double>(table.nearest_in_log(s)); });
    } else if (name == "eps.c_out") {
      compare(name, sigma, [&](double s) { return wrapped(eps, s).c_out; });
    } else if (name == "eps.c_in") {
      compare(name, sigma, [&](double s) { return wrapped(eps, s).c_in; });
    } else if (name == "v.c_skip") {
      compare(name, sigma, [&](double s) { return wrapped(v, s).c_skip; });
    } else if (name == "v.c_out") {
      compare(name, sigma, [&](double s) { return wrapped(v, s).c_out; });
    } else if (name == "v.c_in") {
      compare(name, sigma, [&](double s) { return wrapped(v, s).c_in; });
    } else {
      check(name == "v.sigma_to_t", "tensor '", name, "' is not understood");
      compare(name, sigma, [&](double s) { return time_of_log_snr(angle, -2 * std::log(s)); });
    }
  }
}

}  // namespace tweedie::reference
