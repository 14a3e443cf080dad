// The cases of EDM's generate.py: its sampler, and that of its ablations, which runs in the time of
// any schedule and on states of any scaling.
#include <cmath>
#include <limits>

#include "diffusers_grids.h"
#include "edm_grids.h"
#include "peer_run.h"
#include "peer_samplers.h"
#include "peer_tables.h"
#include "tweedie/samplers/runge_kutta.h"

namespace tweedie::reference {
namespace {

RungeKuttaOptions edm_options(const Json& args) {
  const double most = std::numeric_limits<double>::max();
  return {.churn = args.value("S_churn", 0.0),
          .churn_min = args.value("S_min", 0.0),
          .churn_max = args.value("S_max", most),
          .churn_noise = args.value("S_noise", 1.0)};
}

void run_edm_sampler(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  const Json args = config.value("args", Json::object());
  const EdmRange defaults = edm_range("edm");
  const double least = std::max(args.value("sigma_min", defaults.least),
                                config.value("net_sigma_min", 0.0)),
               most = std::min(args.value("sigma_max", defaults.most),
                               config.value("net_sigma_max", HUGE_VAL));
  std::vector<double> sigmas =
      karras_ratios(least, most, args.value("num_steps", int64_t{18}), args.value("rho", 7.0));
  sigmas.push_back(0);
  compare_run(the_case, checker,
              run_peer(the_case, {}, runge_kutta(edm_options(args)), most * the_case.tensor("x_T"),
                       ve_path(sigmas), recorded_draws(the_case)));
}

/// The peer's "schedule": its sigma, which is our sigma / alpha, over time.
struct NoiseCurve {
  std::function<double(double t)> ratio, slope;
  std::function<double(double ratio)> time;
};

/// VP through the ends of the discretisation, at epsilon_s and 1.
NoiseCurve vp_curve(const EdmRange& range) {
  const double least = std::log1p(range.least * range.least),
               most = std::log1p(range.most * range.most);
  const double rise = 2 * (least / kEdmFirstTime - most) / (kEdmFirstTime - 1),
               first = most - 0.5 * rise;  // beta_d, beta_min
  const auto ratio = [=](double t) { return std::sqrt(std::expm1((0.5 * rise * t + first) * t)); };
  return {ratio, [=](double t) { return 0.5 * (first + rise * t) * (ratio(t) + 1 / ratio(t)); },
          [=](double r) {
            return (std::sqrt(first * first + 2 * rise * std::log1p(r * r)) - first) / rise;
          }};
}

NoiseCurve noise_curve(const std::string& schedule, const EdmRange& range) {
  if (schedule == "vp") return vp_curve(range);
  if (schedule == "ve")
    return {[](double t) { return std::sqrt(t); }, [](double t) { return 0.5 / std::sqrt(t); },
            [](double r) { return r * r; }};
  return {[](double t) { return t; }, [](double) { return 1.0; }, [](double r) { return r; }};
}

/// With the scaling "vp" the state has unit variance where the data has.
Level level_of_time(const NoiseCurve& curve, bool scaled, double t) {
  const double ratio = curve.ratio(t), slope = curve.slope(t);
  if (!scaled) return {t, 1, ratio, 0, slope};
  const double alpha = 1 / std::hypot(1.0, ratio), cube = alpha * alpha * alpha;
  return {t, alpha, ratio * alpha, -ratio * slope * cube, slope * cube};
}

/// The network works on x / alpha.
Denoiser in_ratio(Denoiser network) {
  return [=](const Tensor& x, Levels levels, const Condition& condition) {
    const Level& level = levels.front();
    return network(x / level.alpha, {ve_level(noise_ratio(level), level.t)}, condition);
  };
}

Path ablation_path(const Json& args) {
  const std::string name = args.value("discretization", std::string("edm"));
  const NoiseCurve curve =
      noise_curve(args.value("schedule", std::string("linear")), edm_range(name));
  const bool scaled = args.value("scaling", std::string("none")) == "vp";
  const auto level_of = [=](double ratio) {
    return level_of_time(curve, scaled, curve.time(ratio));
  };
  Path path;
  for (const double ratio : edm_ratios(name, args.value("num_steps", int64_t{18})))
    path.push_back(level_of(ratio));
  path.push_back(clean);
  path.between = [=](double log_snr) { return level_of(std::exp(-0.5 * log_snr)); };
  return path;
}

void run_ablation(const Case& the_case, Checker& checker) {
  const Json args = the_case.config.value("args", Json::object());
  RungeKuttaOptions options = edm_options(args);
  options.order = args.value("solver", std::string("heun")) == "euler" ? 1 : 2;
  options.stage = args.value("alpha", 1.0);
  options.clock = options.stage == 1 ? "time" : "ratio";  // the same on the linear schedule
  const Path path = ablation_path(args);
  compare_run(
      the_case, checker,
      run_peer(the_case, {.around = in_ratio}, runge_kutta(options),
               path.front().sigma * the_case.tensor("x_T"), path, recorded_draws(the_case)));
}

/// Our stages inside a step are placed in sigma / alpha.
Refusal stage_refusal(const Json& args) {
  const bool straight = args.value("schedule", std::string("linear")) == "linear" &&
                        args.value("scaling", std::string("none")) == "none";
  if (straight || args.value("alpha", 1.0) == 1) return {};
  return "alpha below 1 in the time of a curved schedule: not in this release";
}

}  // namespace

Plan plan_edm_sampler(const Json& row) {
  const Json config = row.value("config", Json::object()),
             args = config.value("args", Json::object());
  const std::string sampler = text_or_empty(config, "sampler");
  const bool ablation = sampler == "ablation_sampler";
  std::vector<std::string> keys = {"sampler", "gmm", "args", "inputs"},
                           arguments = {"num_steps", "S_churn", "S_min", "S_max", "S_noise"};
  if (ablation)
    arguments.insert(arguments.end(), {"solver", "discretization", "schedule", "scaling", "alpha"});
  else
    arguments.insert(arguments.end(), {"sigma_min", "sigma_max", "rho"});
  if (!ablation) keys.insert(keys.end(), {"net_sigma_min", "net_sigma_max"});
  const Refusal refusal = first_refusal(
      {other_value("sampler", config, {"edm_sampler", "ablation_sampler"}),
       unknown_keys("config", config, keys), unknown_keys("config.args", args, arguments),
       other_value("solver", args, {"euler", "heun"}),
       other_value("discretization", args, {"vp", "ve", "iddpm", "edm"}),
       other_value("schedule", args, {"vp", "ve", "linear"}),
       other_value("scaling", args, {"vp", "none"}), stage_refusal(args)});
  if (!refusal.empty()) return {{}, refusal};
  return {ablation ? run_ablation : run_edm_sampler, ""};
}

}  // namespace tweedie::reference
