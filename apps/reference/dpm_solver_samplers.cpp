// The cases of dpm-solver's DPM_Solver.
#include <algorithm>
#include <cmath>

#include "dpm_solver_schedule.h"
#include "peer_run.h"
#include "peer_samplers.h"
#include "peer_tables.h"
#include "tweedie/base/error.h"
#include "tweedie/samplers/multistep.h"
#include "tweedie/samplers/single_step.h"

namespace tweedie::reference {
namespace {

Level level_at(const NoiseSchedule& schedule, double t) {
  const double log_alpha = schedule.log_alpha(t);
  return {t, std::exp(log_alpha), std::sqrt(-std::expm1(2 * log_alpha)), NAN, NAN};
}

Path path_of(const NoiseSchedule& schedule, const std::vector<double>& times) {
  Path path;
  for (const double t : times) path.push_back(level_at(schedule, t));
  path.between = [schedule](double log_snr) {
    return level_at(schedule, schedule.time_of_lambda(0.5 * log_snr));
  };
  return path;
}

NoiseSchedule schedule_of(const Json& settings, Checker& checker) {
  if (settings.at("schedule") == "linear") return linear_noise_schedule(settings);
  const Json betas = {{"beta_schedule", "linear"},
                      {"beta_start", number_of(settings, "beta_start")},
                      {"beta_end", number_of(settings, "beta_end")}};
  return discrete_noise_schedule(betas, static_cast<int64_t>(number_of(settings, "T")), checker);
}

struct SolverOfPeer {
  Sampler sampler;
  Path path;
};

/// Low orders first, and last where there are few steps.
SolverOfPeer multistep_of(const NoiseSchedule& schedule, const Json& sample,
                          const std::string& form) {
  const int64_t steps = sample.at("steps"), order = sample.at("order");
  const bool lower = sample.value("lower_order_final", true) && steps < 10;
  std::vector<int64_t> orders;
  for (int64_t i = 0; i < steps; ++i)
    orders.push_back(std::min({order, i + 1, lower ? steps - i : order}));
  std::vector<double> times = time_steps(schedule, sample.at("skip_type"), steps);
  if (number_of(sample, "t_start") < number_of(sample, "t_end"))
    std::reverse(times.begin(), times.end());
  Path path = path_of(schedule, times);
  if (sample.value("denoise_to_zero", false)) {
    path.push_back(clean);
    orders.push_back(1);
  }
  const bool taylor = sample.value("solver_type", "dpmsolver") == "taylor";
  return {multistep({.order = order,
                     .form = form,
                     .closure = taylor ? "exact" : "half",
                     .half_curvature = true,
                     .orders = orders}),
          path};
}

SolverOfPeer singlestep_of(const NoiseSchedule& schedule, const Json& sample,
                           const std::string& form) {
  const int64_t steps = sample.at("steps"), order = sample.at("order");
  const std::string skip = sample.at("skip_type");
  const bool fixed = sample.at("method") == "singlestep_fixed";
  SingleStepOptions options{
      .form = form,
      .closure = sample.value("solver_type", "dpmsolver") == "taylor" ? "exact" : "half",
      .orders = fixed ? std::vector<int64_t>(static_cast<size_t>(steps / order), order)
                      : singlestep_orders(steps, order)};
  // Even in lambda, the inner levels are even between the outer ones; else the grid has them all.
  if (skip == "logSNR")
    return {
        single_step(options),
        path_of(schedule, time_steps(schedule, skip, static_cast<int64_t>(options.orders.size())))};
  options.stages = "path";
  return {single_step(options), path_of(schedule, time_steps(schedule, skip, steps))};
}

void run_dpm_solver(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  Json sample = config.at("sample");
  const NoiseSchedule schedule = schedule_of(config.at("noise_schedule"), checker);
  const double first = 1 / static_cast<double>(schedule.levels);
  sample["t_start"] = sample.value("t_start", 1.0);
  sample["t_end"] = sample.value("t_end", first);
  const std::string form = config.at("solver").at("algorithm_type") == "dpmsolver++" ? "x0" : "eps";
  const SolverOfPeer solver = sample.at("method") == "multistep"
                                  ? multistep_of(schedule, sample, form)
                                  : singlestep_of(schedule, sample, form);
  check(std::abs(solver.path[0].t - number_of(sample, "t_start")) < 1e-9, the_case.id,
        ": starts at ", number_of(sample, "t_start"), ", our path at ", solver.path[0].t);
  const PeerRun run = run_peer(the_case, {.prediction = "epsilon"}, solver.sampler,
                               the_case.tensor(config.value("inverse", false) ? "x0" : "x_T"),
                               solver.path, draws_in_order(the_case));
  if (sample.at("method") == "multistep") return compare_run(the_case, checker, run);
  // The single-step solver lists the states after its steps, without the start.
  checker.compare("x_final", run.x.back());
  checker.compare("x", at::stack(std::vector<Tensor>(run.x.begin() + 1, run.x.end())));
  compare_calls(the_case, checker, run.evaluations);
}

/// The peer's own controller over the whole batch, around our steps.
void run_dpm_solver_adaptive(const Case& the_case, Checker& checker) {
  checker.compatibility("dpm-solver adaptive: one step size for the batch, its own controller");
  constexpr double kFirstStep = 0.05, kSafety = 0.9, kTimeError = 1e-5;
  const Json& config = the_case.config;
  const Json sample = config.at("sample");
  const NoiseSchedule schedule = schedule_of(config.at("noise_schedule"), checker);
  const int64_t order = sample.at("order");
  const Form form =
      config.at("solver").at("algorithm_type") == "dpmsolver++" ? Form::x0 : Form::eps;
  const Closure closure =
      sample.value("solver_type", "dpmsolver") == "taylor" ? Closure::exact : Closure::half;
  Evaluations evaluations;
  const Denoiser denoiser = exact_denoiser(mixture_of(the_case, config.at("gmm")),
                                           {.prediction = "epsilon"}, &evaluations);
  const Evaluate evaluate = [&](const Tensor& x, Levels levels) {
    return denoiser(x, levels, {}).x0;
  };
  const double rtol = number_of(sample, "rtol"), atol = number_of(sample, "atol"),
               end = number_of(sample, "t_end");
  const double last = half_log_snr(level_at(schedule, end));
  Tensor x = the_case.tensor("x_T"), before = x;
  double t = 1, h = kFirstStep;
  while (std::abs(t - end) > kTimeError) {
    const Level from = level_at(schedule, t);
    const double lambda = half_log_snr(from);
    const auto at = [&](double part) {
      return level_at(schedule, schedule.time_of_lambda(lambda + part * h));
    };
    const std::vector<std::vector<Level>> inner =
        order == 2 ? std::vector<std::vector<Level>>{{at(0.5)}}
                   : std::vector<std::vector<Level>>{{at(1.0 / 3)}, {at(2.0 / 3)}};
    const Level to = at(1);
    const SingleStep step = take_single_step(evaluate, x, from, inner, to, form, closure, true);
    const Tensor allowed =
        at::maximum(at::full_like(x, atol), rtol * at::maximum(step.low.abs(), before.abs()));
    const double error =
        ((step.high - step.low) / allowed).flatten(1).square().mean(1).sqrt().max().item<double>();
    if (error <= 1) {
      x = step.high;
      before = step.low;
      t = to.t;
    }
    h = std::min(kSafety * h * std::pow(error, -1 / static_cast<double>(order)),
                 last - half_log_snr(level_at(schedule, t)));
  }
  checker.compare("x_final", x);
  compare_calls(the_case, checker, evaluations);
}

}  // namespace

Plan plan_dpm_solver_sampler(const Json& row) {
  const Json config = row.value("config", Json::object());
  const Json sample = config.value("sample", Json::object()),
             noise = config.value("noise_schedule", Json::object()),
             solver = config.value("solver", Json::object());
  const Refusal refusal = first_refusal(
      {unknown_keys(
           "config", config,
           {"gmm", "noise_schedule", "solver", "sample", "inverse", "inputs", "keep_calls"}),
       unknown_keys(
           "config.noise_schedule", noise,
           {"schedule", "continuous_beta_0", "continuous_beta_1", "T", "beta_start", "beta_end"}),
       unknown_keys("config.solver", solver, {"algorithm_type"}),
       unknown_keys("config.sample", sample,
                    {"steps", "order", "method", "skip_type", "solver_type", "t_start", "t_end",
                     "atol", "rtol", "denoise_to_zero", "lower_order_final"}),
       other_value("schedule", noise, {"linear", "discrete"}),
       other_value("algorithm_type", solver, {"dpmsolver", "dpmsolver++"}),
       other_value("method", sample, {"multistep", "singlestep", "singlestep_fixed", "adaptive"}),
       other_value("skip_type", sample, {"logSNR", "time_uniform", "time_quadratic"}),
       other_value("solver_type", sample, {"dpmsolver", "taylor"})});
  if (!refusal.empty()) return {{}, refusal};
  return {sample.at("method") == "adaptive" ? run_dpm_solver_adaptive : run_dpm_solver, ""};
}

}  // namespace tweedie::reference
