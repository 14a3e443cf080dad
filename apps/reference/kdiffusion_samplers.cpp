// The cases of k-diffusion's sampling.py.
#include <cmath>
#include <limits>

#include "diffusers_grids.h"
#include "peer_run.h"
#include "peer_samplers.h"
#include "peer_tables.h"
#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/dpm_adaptive.h"
#include "tweedie/samplers/linear_multistep.h"
#include "tweedie/samplers/multistep.h"
#include "tweedie/samplers/runge_kutta.h"
#include "tweedie/samplers/single_step.h"

namespace tweedie::reference {
namespace {

using Arguments = Json;

double argument(const Arguments& args, const char* name, double otherwise) {
  return args.value(name, otherwise);
}

RungeKuttaOptions churned_options(const Arguments& args, int64_t order) {
  return {.order = order,
          .churn = argument(args, "s_churn", 0),
          .churn_min = argument(args, "s_tmin", 0),
          .churn_max = argument(args, "s_tmax", std::numeric_limits<double>::max()),
          .churn_noise = argument(args, "s_noise", 1)};
}

Sampler sampler_of(const std::string& name, const Arguments& args) {
  const double eta = argument(args, "eta", 1);
  if (name == "sample_euler") return runge_kutta(churned_options(args, 1));
  if (name == "sample_heun") return runge_kutta(churned_options(args, 2));
  if (name == "sample_dpm_2") {
    RungeKuttaOptions options = churned_options(args, 2);
    options.stage = 0.5;
    options.inner = "geometric";
    return runge_kutta(options);
  }
  if (name == "sample_euler_ancestral") return ddim({.eta = eta, .clip = false});
  if (name == "sample_dpm_2_ancestral") return single_step({.form = "eps", .eta = eta});
  if (name == "sample_dpmpp_2s_ancestral") return single_step({.eta = eta});
  if (name == "sample_dpmpp_sde")
    return single_step({.r1 = argument(args, "r", 0.5), .eta = eta, .noisy_stages = true});
  if (name == "sample_lms") return linear_multistep({.order = args.value("order", int64_t{4})});
  if (name == "sample_dpmpp_2m") return multistep({.closure = "half", .lower_final = false});
  if (name == "sample_dpmpp_2m_sde")
    return multistep({.closure = args.value("solver_type", "midpoint") == "heun" ? "exact" : "half",
                      .eta = eta,
                      .lower_final = false});
  check(name == "sample_dpmpp_3m_sde", "k-diffusion's ", name, " is not understood");
  return multistep({.order = 3, .half_curvature = true, .eta = eta, .lower_final = false});
}

std::vector<double> sigmas_of(const Json& settings) {
  const double least = number_of(settings, "sigma_min"), most = number_of(settings, "sigma_max");
  const int64_t n = static_cast<int64_t>(number_of(settings, "n"));
  const std::string kind = settings.at("kind");
  std::vector<double> sigmas = kind == "karras"
                                   ? karras_ratios(least, most, n, number_of(settings, "rho"))
                                   : exponential_ratios(least, most, n);
  sigmas.push_back(0);
  return sigmas;
}

/// The callback is given the state that each step's first evaluation saw.
void compare_callbacks(const Case& the_case, Checker& checker, const PeerRun& run) {
  std::vector<Tensor> x, denoised;
  std::vector<double> sigma_hat;
  for (size_t i = 0; i + 1 < run.first.size(); ++i) {
    x.push_back(run.evaluations.x[run.first[i]]);
    denoised.push_back(run.evaluations.x0[run.first[i]]);
    sigma_hat.push_back(run.evaluations.level[run.first[i]].sigma);
  }
  const auto shaped = [&](const std::vector<Tensor>& states) {
    return at::stack(states).reshape(the_case.tensor("cb_x").sizes());
  };
  checker.compare("cb_x", shaped(x));
  checker.compare("cb_denoised", shaped(denoised));
  checker.compare("cb_sigma_hat", to_tensor(sigma_hat));
}

void run_on_grid(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  const Arguments args = config.value("args", Json::object());
  const std::string name = config.at("sampler");
  const std::vector<double> sigmas = sigmas_of(config.at("sigmas"));
  checker.compare("sigmas", to_tensor(sigmas));
  const Tensor start = sigmas[0] * the_case.tensor("x_T");
  checker.compare("x_start", start);
  // Churn has its own amplitude, and draws that it does not use; the ancestral samplers' is that of
  // the draws.
  const bool churns = name == "sample_euler" || name == "sample_heun" || name == "sample_dpm_2";
  const PeerRun run = run_peer(
      the_case, {}, sampler_of(name, args), start, ve_path(sigmas),
      churns ? recorded_draws(the_case) : draws_in_order(the_case, argument(args, "s_noise", 1)));
  compare_run(the_case, checker, run);
  compare_callbacks(the_case, checker, run);
  checker.compare("cb_sigma", to_tensor(std::vector<double>(sigmas.begin(), sigmas.end() - 1)));
}

/// DPM-Solver's "fast" version: orders that make n evaluations, on levels even in log sigma.
void run_fast(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  const Arguments args = config.value("args", Json::object());
  const int64_t n =
      config.contains("n") ? config.at("n").get<int64_t>() : args.at("n").get<int64_t>();
  const int64_t groups = n / 3 + 1;
  std::vector<int64_t> orders(static_cast<size_t>(n % 3 == 0 ? groups - 2 : groups - 1), 3);
  if (n % 3 == 0)
    orders.insert(orders.end(), {2, 1});
  else
    orders.push_back(n % 3);
  const double least = number_of(config, "sigma_min"), most = number_of(config, "sigma_max");
  const Path path = ve_path(exponential_ratios(least, most, groups + 1));
  const PeerRun run = run_peer(
      the_case, {}, single_step({.form = "eps", .eta = argument(args, "eta", 0), .orders = orders}),
      most * the_case.tensor("x_T"), path, draws_in_order(the_case, argument(args, "s_noise", 1)));
  compare_run(the_case, checker, run);
  compare_callbacks(the_case, checker, run);
}

/// The peer controls the step by an error over the whole batch: ours sees it as one sample.
void run_adaptive(const Case& the_case, Checker& checker) {
  checker.compatibility("k-diffusion dpm_adaptive: one step size and error for the whole batch");
  const Json& config = the_case.config;
  const Arguments args = config.value("args", Json::object());
  const double least = number_of(config, "sigma_min"), most = number_of(config, "sigma_max");
  const Tensor start = most * the_case.tensor("x_T");
  PeerRun run;
  const Denoiser exact =
      exact_denoiser(mixture_of(the_case, config.at("gmm")), {}, &run.evaluations);
  const Denoiser flat = [&](const Tensor& x, Levels levels, const Condition& condition) {
    return Prediction{exact(x.reshape(start.sizes()), levels, condition).x0.reshape(x.sizes()), {}};
  };
  // Only steps that were taken drew noise; the levels tell which.
  const Noise noise = [&](const Tensor& like, const Level& from, const Level& to) {
    const std::vector<double> starts = to_doubles(the_case.tensor("noise_from")),
                              ends = to_doubles(the_case.tensor("noise_to"));
    for (size_t j = 0; j < starts.size(); ++j)
      if (std::abs(starts[j] / from.sigma - 1) < 1e-7 && std::abs(ends[j] / to.sigma - 1) < 1e-7)
        return the_case.tensor("noise")[static_cast<int64_t>(j)].reshape(like.sizes());
    return at::zeros_like(like);
  };
  std::vector<Tensor> after;  // the callback is called when a step was tried
  std::vector<double> sigma_after;
  const Observer observe = [&](const Step& done) {
    after.push_back(done.x.clone().reshape(start.sizes()));
    sigma_after.push_back(done.to.sigma);
  };
  const Sampler sampler = dpm_adaptive({.order = args.value("order", int64_t{3}),
                                        .rtol = argument(args, "rtol", 0.05),
                                        .atol = argument(args, "atol", 0.0078),
                                        .first_step = argument(args, "h_init", 0.05),
                                        .proportional = argument(args, "pcoeff", 0),
                                        .integral = argument(args, "icoeff", 1),
                                        .derivative = argument(args, "dcoeff", 0),
                                        .safety = argument(args, "accept_safety", 0.81),
                                        .eta = argument(args, "eta", 0)});
  sampler(flat, start.reshape({1, -1}), ve_path({most, least}), {}, noise, observe);
  checker.compare("x_final", after.back());
  checker.compare("cb_x", at::stack(after));
  checker.compare("cb_sigma", to_tensor(sigma_after));
  compare_calls(the_case, checker, run.evaluations);
}

}  // namespace

Plan plan_kdiffusion_sampler(const Json& row) {
  const Json config = row.value("config", Json::object());
  const std::string name = text_or_empty(config, "sampler");
  const Json sigmas = config.value("sigmas", Json::object());
  const Refusal refusal = first_refusal(
      {unknown_keys("config", config,
                    {"sampler", "gmm", "sigmas", "noise_sampler", "args", "sigma_min", "sigma_max",
                     "n", "inputs", "keep_calls"}),
       unknown_keys("config.sigmas", sigmas, {"kind", "n", "sigma_min", "sigma_max", "rho"}),
       other_value("kind", sigmas, {"karras", "exponential"}),
       unknown_keys("config.args", config.value("args", Json::object()),
                    {"s_churn", "s_tmin", "s_tmax", "s_noise", "eta", "r", "order", "solver_type",
                     "rtol", "atol", "h_init", "pcoeff", "icoeff", "dcoeff", "accept_safety", "n"}),
       other_value("sampler", config,
                   {"sample_euler", "sample_heun", "sample_dpm_2", "sample_euler_ancestral",
                    "sample_dpm_2_ancestral", "sample_dpmpp_2s_ancestral", "sample_dpmpp_sde",
                    "sample_lms", "sample_dpmpp_2m", "sample_dpmpp_2m_sde", "sample_dpmpp_3m_sde",
                    "sample_dpm_fast", "sample_dpm_adaptive"})});
  if (!refusal.empty()) return {{}, refusal};
  if (name == "sample_dpm_fast") return {run_fast, ""};
  if (name == "sample_dpm_adaptive") return {run_adaptive, ""};
  return {run_on_grid, ""};
}

}  // namespace tweedie::reference
