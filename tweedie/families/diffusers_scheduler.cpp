#include "tweedie/families/diffusers_scheduler.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tweedie/base/fields.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/schedule.h"

namespace tweedie {
namespace {

/// What each scheduler is among ours, and the steps that its pipelines take by default.
struct Solver {
  const char* sampler;
  int64_t steps;
  bool clips = false;  // it has clip_sample, true unless said otherwise
};
const std::map<std::string, Solver> kSolvers = {
    {"DDPMScheduler", {"ddpm", 1000, true}},
    {"DDPMParallelScheduler", {"ddpm", 1000, true}},
    {"DDIMScheduler", {"ddim", 50, true}},
    {"DDIMParallelScheduler", {"ddim", 50, true}},
    {"PNDMScheduler", {"pndm", 50}},
    {"DPMSolverMultistepScheduler", {"dpm++2m", 20}},
    {"DPMSolverSinglestepScheduler", {"dpm++2s", 20}},
    {"DPMSolverSDEScheduler", {"dpm++sde", 20}},
    {"UniPCMultistepScheduler", {"unipc", 15}},
    {"DEISMultistepScheduler", {"deis", 20}},
    {"SASolverScheduler", {"sa-solver", 25}},
    {"EulerDiscreteScheduler", {"euler", 50}},
    {"EulerAncestralDiscreteScheduler", {"ddim", 50}},
    {"HeunDiscreteScheduler", {"heun", 25}},
    {"KDPM2DiscreteScheduler", {"dpm-2", 25}},
    {"LMSDiscreteScheduler", {"lms", 50}},
    {"EDMEulerScheduler", {"euler", 50}},
    {"EDMDPMSolverMultistepScheduler", {"dpm++2m", 20}},
    {"FlowMatchEulerDiscreteScheduler", {"flow-euler", 50}},
    {"FlowMatchHeunDiscreteScheduler", {"flow-heun", 25}},
};

/// Fields that are followed.
const std::vector<std::string> kFollowed = {
    "_class_name",         "_diffusers_version", "_name_or_path",
    "num_train_timesteps", "beta_start",         "beta_end",
    "beta_schedule",       "trained_betas",      "rescale_betas_zero_snr",
    "prediction_type",     "variance_type",      "clip_sample",
    "timestep_spacing",    "skip_prk_steps",     "solver_order",
    "algorithm_type",      "use_karras_sigmas",  "use_lu_lambdas",
    "sigma_min",           "sigma_max",          "sigma_data"};
const std::vector<std::string> kFollowedOfScoreSde = {
    "_class_name", "_diffusers_version", "_name_or_path", "num_train_timesteps",
    "sigma_min",   "sigma_max",          "snr",           "correct_steps"};

/// Fields that are not followed, with the values at which nothing is missed.
const std::map<std::string, std::vector<Json>> kHarmless = {
    {"set_alpha_to_one", {true}},
    {"steps_offset", {0}},
    {"thresholding", {false}},
    {"dynamic_thresholding_ratio", {0.995}},
    {"sample_max_value", {1.0}},
    {"clip_sample_range", {1.0}},
    {"solver_type", {"midpoint", "bh2", "logrho"}},
    {"lower_order_final", {true}},
    {"euler_at_final", {false}},
    {"use_exponential_sigmas", {false}},
    {"use_beta_sigmas", {false}},
    {"use_flow_sigmas", {false}},
    {"flow_shift", {1.0}},
    {"final_sigmas_type", {"zero"}},
    {"interpolation_type", {"linear"}},
    {"timestep_type", {"discrete"}},
    {"sigma_schedule", {"karras"}},
    {"rho", {7.0}},
    {"predict_x0", {true}},
    {"disable_corrector", {Json::array()}},
    {"sampling_eps", {1e-5}},
    {"lambda_min_clipped", {"-Infinity"}},
    {"base_image_seq_len", {256}},
    {"max_image_seq_len", {4096}},
    {"base_shift", {0.5}},
    {"max_shift", {1.15}},
    {"invert_sigmas", {false}},
    {"stochastic_sampling", {false}},
    {"time_shift_type", {"exponential"}},
    {"lower_order_second", {true}},
    {"shift", {1.0}},
    {"use_dynamic_shifting", {false}}};

template <class T>
T field(const Json& config, const char* name, T otherwise) {
  const auto found = config.find(name);
  if (found == config.end() || found->is_null()) return otherwise;
  check(has_type<T>(*found), "scheduler_config: ", name, ": expected ", type_in_words<T>(),
        ", got ", found->dump().substr(0, 60));
  return found->get<T>();
}

Json chain_of(const Json& config) {
  const auto steps = field<int64_t>(config, "num_train_timesteps", 1000);
  check(steps >= 1 && steps <= 1'000'000,
        "scheduler_config: num_train_timesteps: expected 1 to 10^6, got ", steps);
  const bool zero_terminal = field(config, "rescale_betas_zero_snr", false);
  const auto betas = field<std::vector<double>>(config, "trained_betas", {});
  if (!betas.empty())
    return {{"name", "betas"}, {"betas", betas}, {"zero_terminal_snr", zero_terminal}};
  const auto kind = field<std::string>(config, "beta_schedule", "linear");
  if (kind == "squaredcos_cap_v2")
    return {{"name", "cosine"}, {"steps", steps}, {"zero_terminal_snr", zero_terminal}};
  if (kind == "exp" || kind == "laplace")
    return {{"name", "betas"},
            {"betas", kind == "exp" ? diffusers_exp_betas(steps) : diffusers_laplace_betas(steps)},
            {"zero_terminal_snr", zero_terminal}};
  const std::map<std::string, const char*> names = {
      {"linear", "linear"}, {"scaled_linear", "scaled-linear"}, {"sigmoid", "sigmoid"}};
  const auto name = names.find(kind);
  check(name != names.end(), "scheduler_config: beta_schedule '", kind, "' is not supported");
  return {{"name", name->second},
          {"steps", steps},
          {"beta_start", field(config, "beta_start", 1e-4)},
          {"beta_end", field(config, "beta_end", 0.02)},
          {"zero_terminal_snr", zero_terminal}};
}

void choose_variant(const std::string& scheduler, const Json& config, SchedulerReading& out) {
  Json& sample = out.sample;
  const auto note = [&](const std::string& what) {
    out.notes.push_back("scheduler_config: " + scheduler + " " + what);
  };
  const auto order = field<int64_t>(config, "solver_order", 2);
  const auto algorithm = field<std::string>(config, "algorithm_type", "dpmsolver++");
  check(order >= 1 && order <= 3, "scheduler_config: solver_order: expected 1 to 3, got ", order);
  if (scheduler == "PNDMScheduler") {
    if (field(config, "skip_prk_steps", false)) sample["sampler"] = "plms";
    note("begins at other levels than '" + sample["sampler"].get<std::string>() +
         "' does here: samples are alike, not equal");
  }
  if (scheduler == "UniPCMultistepScheduler")
    sample["options"] = {{"order", order}, {"corrector", order + 1}};
  if (scheduler == "DEISMultistepScheduler") {
    sample["options"] = {{"order", order}};
    note("stops at the chain's least noise; here the last step leads to clean data");
  }
  if (scheduler == "EulerAncestralDiscreteScheduler")
    sample["options"] = {{"eta", 1.0}, {"clip", false}};
  if (scheduler.find("DPMSolverMultistep") != std::string::npos) {
    const bool sde = algorithm.starts_with("sde-"), noise = algorithm.ends_with("dpmsolver");
    sample["sampler"] = order == 1   ? "ddim"
                        : sde        ? (order == 3 ? "dpm++3m-sde" : "dpm++2m-sde")
                        : noise      ? "dpm-2m"
                        : order == 3 ? "dpm++3m-customary"
                                     : "dpm++2m";
    if (order == 1) sample["options"] = {{"eta", sde ? 1.0 : 0.0}, {"clip", false}};
    if (order == 3 && noise && !sde)
      note("of order 3 with algorithm_type = dpmsolver is not followed: order 2 is taken");
  }
  if (scheduler == "DPMSolverSinglestepScheduler") {
    sample["sampler"] = algorithm == "dpmsolver++" ? "dpm++2s" : "dpm-2";
    sample["options"] = {{"order", order}, {"stages", "path"}};
    if (order == 3) note("of order 3 takes other weights: samples are alike, not equal");
  }
}

std::string path_of(const std::string& scheduler, const Json& config) {
  if (field(config, "use_karras_sigmas", false) || scheduler.starts_with("EDM")) return "karras";
  if (field(config, "use_lu_lambdas", false)) return "log-snr";
  // The schedulers' own defaults where a configuration does not say.
  const bool linspace = scheduler.find("Discrete") != std::string::npos ||
                        scheduler.find("DPMSolver") != std::string::npos ||
                        scheduler.starts_with("UniPC") || scheduler.starts_with("DEIS");
  const auto spacing =
      field<std::string>(config, "timestep_spacing", linspace ? "linspace" : "leading");
  check(spacing == "leading" || spacing == "trailing" || spacing == "linspace",
        "scheduler_config: timestep_spacing '", spacing, "' is not supported");
  // These leave the cleanest of one more level out.
  const bool one_more = scheduler.starts_with("DPMSolverMultistep") ||
                        scheduler.starts_with("DPMSolverSinglestep") ||
                        scheduler.starts_with("UniPC") || scheduler.starts_with("DEIS") ||
                        scheduler.starts_with("SASolver");
  return one_more && spacing != "trailing" ? spacing + "+1" : spacing;
}

/// Where diffusers' levels lie elsewhere than those of the path of the same name.
void note_other_levels(const std::string& scheduler, SchedulerReading& out) {
  if (out.sample["path"] != "linspace") return;
  if (scheduler.starts_with("DDIM"))
    out.notes.push_back("scheduler_config: " + scheduler +
                        " with timestep_spacing = linspace goes a fixed number of steps down from "
                        "each level of its grid; here it goes to the next level");
  else if (scheduler.find("Discrete") != std::string::npos && !scheduler.starts_with("Flow"))
    out.notes.push_back("scheduler_config: " + scheduler +
                        " with timestep_spacing = linspace takes levels between the chain's steps; "
                        "here the nearest steps are taken");
}

void note_what_is_not_followed(const Json& config, const std::vector<std::string>& followed,
                               SchedulerReading& out) {
  for (const auto& [key, value] : config.items()) {
    if (value.is_null() || std::find(followed.begin(), followed.end(), key) != followed.end())
      continue;
    const auto harmless = kHarmless.find(key);
    const std::string said =
        "scheduler_config: " + key.substr(0, 60) + " = " + value.dump().substr(0, 60);
    if (harmless == kHarmless.end())
      out.notes.push_back(said + " is not known, and not used");
    else if (std::find(harmless->second.begin(), harmless->second.end(), value) ==
             harmless->second.end())
      out.notes.push_back(said + " is not followed");
  }
}

/// Of score SDE: a network of data in [0, 1], sampled by predictor and corrector.
SchedulerReading read_score_sde_ve(const Json& config) {
  constexpr double kDataScale = 2;
  SchedulerReading out;
  out.schedule = {{"name", "ve"},
                  {"sigma_min", kDataScale * field(config, "sigma_min", 0.01)},
                  {"sigma_max", kDataScale * field(config, "sigma_max", 1348.0)}};
  out.parameterisation = "ve-score";
  out.parameterisation_options = {{"data_scale", kDataScale}};
  out.unit_data = true;
  out.sample = {{"sampler", "predictor-corrector"},
                {"steps", field<int64_t>(config, "num_train_timesteps", 2000)},
                {"path", "auto"},
                {"options",
                 {{"snr", field(config, "snr", 0.15)},
                  {"corrections", field<int64_t>(config, "correct_steps", 1)}}}};
  return out;
}

}  // namespace

SchedulerReading read_scheduler(const Json& config) {
  check(config.is_object(), "scheduler_config: expected an object, got ",
        config.dump().substr(0, 100));
  const auto name = field<std::string>(config, "_class_name", "");
  if (name == "ScoreSdeVeScheduler") {
    SchedulerReading out = read_score_sde_ve(config);
    note_what_is_not_followed(config, kFollowedOfScoreSde, out);
    return out;
  }
  const auto solver = kSolvers.find(name);
  std::vector<std::string> known = {"ScoreSdeVeScheduler"};
  for (const auto& [scheduler, ours] : kSolvers) known.push_back(scheduler);
  check(solver != kSolvers.end(), "scheduler_config: the scheduler '", name, "' is not supported",
        suggestion(name, known));
  SchedulerReading out;
  out.sample = {{"sampler", solver->second.sampler}, {"steps", solver->second.steps}};
  const bool flow = name.starts_with("FlowMatch"), edm = name.starts_with("EDM");
  const auto prediction =
      field<std::string>(config, "prediction_type", flow ? "flow_prediction" : "epsilon");
  const std::map<std::string, const char*> ours = {
      {"epsilon", "eps"}, {"sample", "x0"}, {"v_prediction", "v"}, {"flow_prediction", "velocity"}};
  check(ours.contains(prediction), "scheduler_config: prediction_type '", prediction,
        "' is not supported");
  check(!edm || prediction == "epsilon", "scheduler_config: prediction_type '", prediction, "' of ",
        name, " is not supported");
  check(field<std::string>(config, "timestep_type", "discrete") == "discrete",
        "scheduler_config: timestep_type = continuous is not supported");
  out.parameterisation = edm ? "edm" : ours.at(prediction);
  if (edm) out.parameterisation_options = {{"sigma_data", field(config, "sigma_data", 0.5)}};
  const auto variance = field<std::string>(config, "variance_type", "fixed_small");
  check(variance != "learned",
        "scheduler_config: variance_type = learned, a network that gives the variance itself, is "
        "not supported; learned_range is");
  out.variance = variance.starts_with("fixed_large") ? "large"
                 : variance.starts_with("learned")   ? "learned"
                                                     : "small";
  if (flow)
    out.schedule = {{"name", "flow"}, {"t_min", 1e-6}};  // whose network is told 1000 t
  else if (edm)
    out.schedule = {{"name", "edm"},
                    {"sigma_min", field(config, "sigma_min", 0.002)},
                    {"sigma_max", field(config, "sigma_max", 80.0)}};
  else
    out.schedule = chain_of(config);
  out.sample["path"] = flow ? "linspace" : path_of(name, config);
  note_other_levels(name, out);
  if (solver->second.clips) out.sample["options"] = {{"clip", field(config, "clip_sample", true)}};
  if (name.starts_with("DDIM")) out.sample["options"]["clip_noise"] = false;
  if (flow && field(config, "use_karras_sigmas", false))
    out.notes.push_back("scheduler_config: use_karras_sigmas = true of " + name +
                        " is not followed");
  if (name.starts_with("DDPM")) out.sample["options"]["variance"] = out.variance;
  choose_variant(name, config, out);
  if (!flow && !edm)
    out.sample["steps"] =
        std::min(solver->second.steps, field<int64_t>(config, "num_train_timesteps", 1000));
  note_what_is_not_followed(config, kFollowed, out);
  return out;
}

std::vector<double> betas_for_floats(const std::vector<double>& alpha_bar) {
  constexpr double kUnit = 1.0 / (1 << 24);  // what float32 tells apart below 1
  std::vector<double> betas;
  double product = 1;
  for (const double target : alpha_bar) {
    const double units = std::round((1 - target / product) / kUnit);
    betas.push_back(std::clamp(units * kUnit, kUnit, 1 - kUnit));
    product *= 1 - betas.back();
  }
  return betas;
}

Json write_scheduler(const Json& schedule, const std::vector<double>& betas,
                     const std::string& prediction, const std::string& version) {
  const std::map<std::string, const char*> theirs = {
      {"eps", "epsilon"}, {"x0", "sample"}, {"v", "v_prediction"}};
  check(theirs.contains(prediction),
        "export: diffusers' chains have no counterpart of "
        "model.parameterisation=",
        prediction, "; it has eps, x0 and v");
  const std::map<std::string, const char*> names = {{"linear", "linear"},
                                                    {"scaled-linear", "scaled_linear"},
                                                    {"cosine", "squaredcos_cap_v2"},
                                                    {"sigmoid", "sigmoid"}};
  const auto name = names.find(schedule.value("name", ""));
  const bool by_name = name != names.end() && schedule.value("max_beta", 0.999) == 0.999 &&
                       !schedule.value("zero_terminal_snr", false);
  return {{"_class_name", "DDIMScheduler"},
          {"_diffusers_version", version},
          {"num_train_timesteps", betas.size()},
          {"beta_start", betas.front()},
          {"beta_end", betas.back()},
          {"beta_schedule", by_name ? name->second : "linear"},
          {"trained_betas", by_name ? Json() : Json(betas)},
          {"clip_sample", false},
          {"clip_sample_range", 1.0},
          {"set_alpha_to_one", true},
          {"steps_offset", 0},
          {"prediction_type", theirs.at(prediction)},
          {"thresholding", false},
          {"dynamic_thresholding_ratio", 0.995},
          {"sample_max_value", 1.0},
          {"timestep_spacing", "trailing"},
          {"rescale_betas_zero_snr", false}};
}

}  // namespace tweedie
