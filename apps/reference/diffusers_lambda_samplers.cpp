// The cases of diffusers' exponential integrators: DPM-Solver, UniPC and DEIS.
#include <algorithm>
#include <cmath>

#include "diffusers_levels.h"
#include "peer_samplers.h"
#include "peer_tables.h"
#include "tweedie/base/error.h"
#include "tweedie/samplers/exponential.h"
#include "tweedie/samplers/multistep.h"
#include "tweedie/samplers/walk.h"

namespace tweedie::reference {
namespace {

constexpr int64_t kFewSteps = 15;  // below which the peer lowers the order at the end

const std::vector<std::string>& lambda_schedulers() {
  static const std::vector<std::string> names = {
      "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
      "EDMDPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler"};
  return names;
}

std::vector<int64_t> multistep_orders(const Json& scheduler, const std::string& name,
                                      int64_t steps) {
  const int64_t order = scheduler.at("solver_order");
  const bool lower = scheduler.value("lower_order_final", false);
  std::vector<int64_t> orders;
  for (int64_t i = 0; i < steps; ++i) {
    const int64_t left = steps - i;
    int64_t most = order;
    if (name == "UniPCMultistepScheduler") {
      if (lower) most = std::min(order, left);
    } else {
      const bool first_at_end = scheduler.value("euler_at_final", false) ||
                                (name != "DEISMultistepScheduler" &&
                                 scheduler.value("final_sigmas_type", "zero") == "zero");
      if (lower && steps < kFewSteps) most = std::min(order, left);
      if (left == 1 && first_at_end) most = 1;
    }
    orders.push_back(std::min(most, i + 1));
  }
  return orders;
}

/// get_order_list: which of its group each evaluation is.
std::vector<int64_t> singlestep_places(const Json& scheduler, int64_t steps) {
  const int64_t order = scheduler.at("solver_order");
  const bool lower = scheduler.value("lower_order_final", false);
  std::vector<int64_t> out;
  for (int64_t i = 0; i < steps; ++i) out.push_back(i % order + 1);
  const bool to_data = scheduler.value("final_sigmas_type", "zero") == "zero";
  if ((lower && steps % order == 0) || to_data) out.back() = 1;
  return out;
}

struct SolverForm {
  Form form;
  double eta;
};

SolverForm form_of(const Json& scheduler) {
  const std::string type = scheduler.value("algorithm_type", std::string("dpmsolver++"));
  const bool of_x0 = scheduler.contains("predict_x0") ? scheduler.at("predict_x0").get<bool>()
                                                      : type.ends_with("dpmsolver++");
  return {of_x0 ? Form::x0 : Form::eps, type.starts_with("sde-") ? 1.0 : 0.0};
}

std::string closure_of(const Json& scheduler, const std::string& name) {
  if (name == "DEISMultistepScheduler") return "exact";
  const std::string type = scheduler.value("solver_type", std::string("midpoint"));
  return type == "midpoint" || type == "bh2" ? "half" : type == "bh1" ? "half_step" : "exact";
}

Sampler multistep_sampler(const Json& scheduler, const std::string& name, int64_t steps) {
  const SolverForm solver = form_of(scheduler);
  const int64_t order = scheduler.at("solver_order");
  const bool unipc = name == "UniPCMultistepScheduler";
  MultistepOptions options{.order = order,
                           .form = solver.form == Form::x0 ? "x0" : "eps",
                           .closure = closure_of(scheduler, name),
                           .half_curvature = !unipc && name != "DEISMultistepScheduler",
                           .eta = solver.eta,
                           .corrector = unipc ? order + 1 : 0,
                           .orders = multistep_orders(scheduler, name, steps)};
  if (unipc) options.uncorrected = scheduler.value("disable_corrector", std::vector<int64_t>{});
  return multistep(options);
}

/// The peer's single-step solver: each evaluation of a group redoes the step from the group's
/// start, of rising order, to the next level; also with fresh noise.
Sampler singlestep_sampler(const Json& scheduler, const std::vector<int64_t>& places) {
  const SolverForm solver = form_of(scheduler);
  const std::string type = scheduler.value("solver_type", std::string("midpoint"));
  return [=](const Denoiser& denoiser, const Tensor& start, const Path& path,
             const Condition& condition, const Noise& noise, const Observer& observe) {
    std::vector<double> nodes;
    std::vector<Tensor> predictions;
    Tensor group_start;
    Level first{};
    return walk("diffusers singlestep", start, path, observe,
                [&](const Tensor& x, const Level& t, const Level& s, int64_t i) {
                  if (places[static_cast<size_t>(i)] == 1) {
                    nodes.clear();
                    predictions.clear();
                    group_start = x;
                    first = t;
                  }
                  const Tensor x0 = denoiser(x, t, condition).x0;
                  nodes.push_back(half_log_snr(t));
                  predictions.push_back(solver.form == Form::x0 ? x0 : eps_from_x0(x, x0, t));
                  // "midpoint": two predictions by the rule of the half, three by the first and the
                  // last.
                  std::vector<size_t> used(nodes.size());
                  for (size_t k = 0; k < used.size(); ++k) used[k] = k;
                  if (type == "midpoint" && used.size() == 3) used.erase(used.begin() + 1);
                  const Closure closure =
                      type == "midpoint" && nodes.size() == 2 ? Closure::half : Closure::exact;
                  std::vector<double> used_nodes;
                  for (const size_t k : used) used_nodes.push_back(nodes[k]);
                  const double eta = s.sigma > 0 ? solver.eta : 0;
                  const StepWeights weights =
                      exponential_step(first, s, solver.form, used_nodes, closure, eta);
                  Tensor next = weights.keep * group_start;
                  for (size_t k = 0; k < used.size(); ++k)
                    next.add_(predictions[used[k]], weights.prediction[k]);
                  if (eta > 0) next.add_(noise(x, t, s), weights.noise);
                  return Stepped{next, x0};
                });
  };
}

/// The peer's third order of sde-dpmsolver++, whose weight of the second difference has -1/2 where
/// the integral has +1/2: a whole second difference less.
Sampler stochastic_third_order(const std::vector<int64_t>& orders, const std::string& closure) {
  return [=](const Denoiser& denoiser, const Tensor& start, const Path& path,
             const Condition& condition, const Noise& noise, const Observer& observe) {
    std::vector<double> nodes;  // newest first
    std::vector<Tensor> predictions;
    return walk("diffusers third order", start, path, observe,
                [&](const Tensor& x, const Level& t, const Level& s, int64_t i) {
                  const Tensor x0 = denoiser(x, t, condition).x0;
                  nodes.insert(nodes.begin(), half_log_snr(t));
                  predictions.insert(predictions.begin(), x0);
                  const size_t order = static_cast<size_t>(orders[static_cast<size_t>(i)]);
                  const std::vector<double> used(nodes.begin(),
                                                 nodes.begin() + static_cast<int64_t>(order));
                  const double eta = s.sigma > 0 ? 1 : 0;
                  const StepWeights weights = exponential_step(
                      t, s, Form::x0, used, closure_named(closure, "peer"), eta, true);
                  Tensor next = weights.keep * x;
                  for (size_t k = 0; k < order; ++k)
                    next.add_(predictions[k], weights.prediction[k]);
                  if (order == 3 && s.sigma > 0) {
                    const double h = half_log_snr(s) - used[0];
                    // Moments of h^2 times the second divided difference.
                    const std::vector<double> second = weights_of_moments(
                        {0, used[1] - used[0], used[2] - used[0]}, {0, 0, h * h});
                    for (size_t k = 0; k < 3; ++k) next.add_(predictions[k], -s.alpha * second[k]);
                  }
                  if (eta > 0) next.add_(noise(x, t, s), weights.noise);
                  return Stepped{next, x0};
                });
  };
}

Path lambda_path(const DiffusersGrid& grid, const Json& scheduler, bool edm) {
  Path path;
  for (size_t i = 0; i < grid.sigmas.size(); ++i) {
    const double sigma = grid.sigmas[i], t = i < grid.timesteps.size() ? grid.timesteps[i] : 0,
                 scale = 1 / std::hypot(1.0, sigma);
    path.push_back(edm ? Level{t, 1, sigma, NAN, NAN}
                   : scheduler.value("use_flow_sigmas", false)
                       ? Level{t, 1 - sigma, sigma, NAN, NAN}
                       : Level{t, scale, sigma * scale, NAN, NAN});
  }
  return path;
}

void run_lambda_sampler(const Case& the_case, Checker& checker) {
  const Json& scheduler = the_case.row.at("scheduler_config");
  const std::string name = the_case.config.at("scheduler");
  const DiffusersGrid grid = compare_grid_of(the_case, checker);
  const bool edm = name.starts_with("EDM");
  const Path path = lambda_path(grid, scheduler, edm);
  const int64_t steps = static_cast<int64_t>(path.size()) - 1;
  NetworkView view{.prediction = edm ? "denoised" : the_case.config.value("prediction", "epsilon")};
  if (scheduler.value("thresholding", false))
    view.around = [&](Denoiser denoiser) {
      return thresholded(std::move(denoiser), scheduler.at("dynamic_thresholding_ratio"),
                         scheduler.at("sample_max_value"));
    };
  const bool slip = form_of(scheduler).eta > 0 && form_of(scheduler).form == Form::x0 &&
                    scheduler.at("solver_order") == 3 && name != "DPMSolverSinglestepScheduler";
  if (slip)
    checker.compatibility("diffusers sde-dpmsolver++ order 3: -1/2 where it should be +1/2");
  const Sampler sampler = name == "DPMSolverSinglestepScheduler"
                              ? singlestep_sampler(scheduler, singlestep_places(scheduler, steps))
                          : slip ? stochastic_third_order(multistep_orders(scheduler, name, steps),
                                                          closure_of(scheduler, name))
                                 : multistep_sampler(scheduler, name, steps);
  const PeerRun run =
      run_peer(the_case, view, sampler,
               (edm ? std::hypot(1.0, grid.sigmas[0]) : 1.0) * the_case.tensor("x_T"), path,
               draws_in_order(the_case));
  compare_diffusers_run(the_case, checker, run);
}

}  // namespace

bool is_lambda_scheduler(const std::string& name) {
  return std::find(lambda_schedulers().begin(), lambda_schedulers().end(), name) !=
         lambda_schedulers().end();
}

Plan plan_diffusers_lambda_sampler(const Json& row) {
  const Json config = row.value("config", Json::object()),
             scheduler = row.value("scheduler_config", Json::object());
  const Refusal refusal = first_refusal(
      {unknown_case_keys(config),
       unknown_scheduler_keys(scheduler, {"solver_order",
                                          "solver_type",
                                          "algorithm_type",
                                          "thresholding",
                                          "dynamic_thresholding_ratio",
                                          "sample_max_value",
                                          "lower_order_final",
                                          "euler_at_final",
                                          "final_sigmas_type",
                                          "lambda_min_clipped",
                                          "variance_type",
                                          "use_lu_lambdas",
                                          "use_flow_sigmas",
                                          "flow_shift",
                                          "use_dynamic_shifting",
                                          "time_shift_type",
                                          "predict_x0",
                                          "disable_corrector",
                                          "solver_p",
                                          "sigma_min",
                                          "sigma_max",
                                          "sigma_data",
                                          "sigma_schedule",
                                          "rho",
                                          "shift_terminal"}),
       other_value("solver_type", scheduler, {"midpoint", "heun", "bh1", "bh2", "logrho"}),
       other_value("algorithm_type", scheduler,
                   {"dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis"}),
       other_value("variance_type", scheduler, {}),
       other_value("sigma_schedule", scheduler, {"karras", "exponential"})});
  if (!refusal.empty()) return {{}, refusal};
  if (scheduler.value("use_dynamic_shifting", false) ||
      (scheduler.contains("solver_p") && !scheduler["solver_p"].is_null()))
    return {{}, "dynamic shifting, a predictor of another kind: not in this release"};
  return {run_lambda_sampler, ""};
}

}  // namespace tweedie::reference
