#include "diffusers_grids.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/path.h"

namespace tweedie::reference {
namespace {

enum class Sigmas { none, end_in_zero, end_in_least, end_as_told };
/// Levels listed twice: for the two evaluations of a step, or its midpoint between.
enum class Repeats { none, pndm, heun, midpoints, ancestral_midpoints, inner_midpoints };

/// What tells one scheduler's grid from another's.
struct Scheduler {
  bool drop_first, fractional;  // see DiffusersSteps
  Sigmas sigmas;
  Repeats repeats;
  bool whole_chain_ends;  // Karras and the like between the chain's ends, not the grid's
};

const std::map<std::string, Scheduler>& schedulers() {
  static const std::map<std::string, Scheduler> table = {
      {"DDIMScheduler", {false, false, Sigmas::none, Repeats::none, false}},
      {"DDPMScheduler", {false, false, Sigmas::none, Repeats::none, false}},
      {"PNDMScheduler", {false, false, Sigmas::none, Repeats::pndm, false}},
      {"EulerDiscreteScheduler", {false, true, Sigmas::end_as_told, Repeats::none, false}},
      {"EulerAncestralDiscreteScheduler", {false, true, Sigmas::end_in_zero, Repeats::none, false}},
      {"LMSDiscreteScheduler", {false, true, Sigmas::end_in_zero, Repeats::none, false}},
      {"HeunDiscreteScheduler", {false, true, Sigmas::end_in_zero, Repeats::heun, false}},
      {"KDPM2DiscreteScheduler", {false, true, Sigmas::end_in_zero, Repeats::midpoints, false}},
      {"KDPM2AncestralDiscreteScheduler",
       {false, true, Sigmas::end_in_zero, Repeats::ancestral_midpoints, false}},
      {"DPMSolverSDEScheduler",
       {false, true, Sigmas::end_in_zero, Repeats::inner_midpoints, false}},
      {"DPMSolverSinglestepScheduler", {true, false, Sigmas::end_as_told, Repeats::none, true}},
      {"DEISMultistepScheduler", {true, false, Sigmas::end_in_least, Repeats::none, true}},
      {"DPMSolverMultistepScheduler", {true, false, Sigmas::end_as_told, Repeats::none, true}},
      {"UniPCMultistepScheduler", {true, false, Sigmas::end_as_told, Repeats::none, true}},
  };
  return table;
}

/// Settings that change what a step does, not which levels it visits.
const std::vector<std::string>& without_influence() {
  static const std::vector<std::string> keys = {
      "prediction_type", "clip_sample",       "clip_sample_range", "thresholding",
      "solver_order",    "solver_type",       "algorithm_type",    "lower_order_final",
      "variance_type",   "set_alpha_to_one",  "sample_max_value",  "dynamic_thresholding_ratio",
      "predict_x0",      "disable_corrector", "euler_at_final",    "timestep_type",
      "_class_name",     "_diffusers_version"};
  return keys;
}

void check_settings(const Json& settings) {
  std::vector<std::string> known = {"beta_schedule",
                                    "beta_start",
                                    "beta_end",
                                    "trained_betas",
                                    "num_train_timesteps",
                                    "rescale_betas_zero_snr",
                                    "timestep_spacing",
                                    "steps_offset",
                                    "final_sigmas_type",
                                    "use_karras_sigmas",
                                    "use_exponential_sigmas",
                                    "use_beta_sigmas",
                                    "use_lu_lambdas",
                                    "lambda_min_clipped",
                                    "skip_prk_steps"};
  known.insert(known.end(), without_influence().begin(), without_influence().end());
  if (settings.value("interpolation_type", std::string("linear")) == "linear")
    known.emplace_back("interpolation_type");
  check_known_keys(settings, known, "settings");
}

DiffusersSpacing spacing_of(const Json& settings) {
  const std::string name = settings.value("timestep_spacing", std::string("(none)"));
  if (name == "leading") return DiffusersSpacing::leading;
  if (name == "trailing") return DiffusersSpacing::trailing;
  check(name == "linspace", "timestep_spacing '", name, "' is not understood");
  return DiffusersSpacing::linspace;
}

/// Our own grid of that spacing, counted from 0; empty where the peer asks for what we refuse.
std::vector<double> our_timesteps(int64_t length, int64_t steps, const DiffusersSteps& options) {
  const bool drops = options.drop_first && options.spacing != DiffusersSpacing::trailing;
  const bool between = options.fractional && options.spacing == DiffusersSpacing::linspace;
  if (steps + drops > length || between) return {};
  const auto grid = options.spacing == DiffusersSpacing::leading    ? leading_steps
                    : options.spacing == DiffusersSpacing::trailing ? trailing_steps
                                                                    : linspace_steps;
  const int64_t shift = options.spacing == DiffusersSpacing::leading ? options.offset - 1 : -1;
  std::vector<double> out;
  for (const int64_t step : grid(length, steps + drops))
    out.push_back(static_cast<double>(step + shift));
  if (drops) out.pop_back();
  return out;
}

std::string difference_from_ours(const DiffusersSteps& options) {
  switch (options.spacing) {
    case DiffusersSpacing::leading:
      return "diffusers leading: more steps than the chain has";
    case DiffusersSpacing::trailing:
      return "diffusers trailing: counted in floating point, halves to even";
    case DiffusersSpacing::linspace:
      return options.fractional ? "diffusers linspace: steps between those of the chain"
                                : "diffusers linspace: halves to even";
  }
  return "";
}

std::vector<double> spaced(const Scheduler& row, const Json& settings, int64_t length,
                           int64_t steps, const Schedule& chain, Checker& checker) {
  DiffusersSteps options{.spacing = spacing_of(settings),
                         .offset = settings.value("steps_offset", int64_t{0}),
                         .drop_first = row.drop_first,
                         .fractional = row.fractional};
  if (settings.contains("lambda_min_clipped") && settings["lambda_min_clipped"].is_number()) {
    const double least = 2 * number_of(settings, "lambda_min_clipped");  // lambda = log-SNR / 2
    options.kept = length;
    while (options.kept > 1 && log_snr(step_level(chain, options.kept)) < least) --options.kept;
  }
  const std::vector<double> out = diffusers_timesteps(length, steps, options);
  const std::vector<double> ours = our_timesteps(length, steps, options);
  if (out != ours) checker.compatibility(difference_from_ours(options));
  return out;
}

/// The chain's noise, with the peer's stand-in for infinity where it has one.
NoiseTable noise_table(const Schedule& chain, Checker& checker) {
  std::vector<double> ratios = NoiseTable(chain).ratios();
  if (std::isinf(ratios.back())) {
    checker.compatibility("diffusers: alpha_bar = 2^-24 in place of zero terminal SNR");
    ratios.back() = std::sqrt(std::ldexp(1.0, 24) - 1);
  }
  return NoiseTable(std::move(ratios));
}

/// Each value twice, but for the first (and the last where `keep_last`).
std::vector<double> doubled(const std::vector<double>& values, bool keep_last) {
  std::vector<double> out{values.front()};
  for (size_t i = 1; i < values.size(); ++i)
    out.insert(out.end(), keep_last && i + 1 == values.size() ? 1 : 2, values[i]);
  return out;
}

/// Warm-up of pseudo linear multistep methods: Runge-Kutta steps, or the second step twice.
void repeat_for_pndm(const Json& settings, int64_t length, int64_t steps,
                     std::vector<double>& timesteps) {
  if (settings.value("skip_prk_steps", false)) {
    if (timesteps.size() > 1) timesteps.insert(timesteps.begin() + 1, timesteps[1]);
    return;
  }
  check(timesteps.size() >= 4, "PNDM with Runge-Kutta steps needs 4 steps or more");
  const double half = static_cast<double>(length / steps / 2);
  std::vector<double> rk;  // t + half and t twice each, but for the ends
  for (size_t i = 0; i < 4; ++i)
    for (const double t : {timesteps[i] + half, timesteps[i]}) rk.insert(rk.end(), 2, t);
  rk.erase(rk.begin(), rk.begin() + 3);
  rk.pop_back();
  timesteps.erase(timesteps.begin(), timesteps.begin() + 3);
  timesteps.insert(timesteps.begin(), rk.begin(), rk.end());
}

/// Steps of the second order that are evaluated half way between two levels, in log sigma; with
/// ancestral noise, half way to the level that the step goes down to, which is the next one.
void repeat_at_midpoints(const NoiseTable& table, Repeats repeats, DiffusersGrid& grid) {
  std::vector<double> timesteps{grid.timesteps.front()};
  for (size_t i = 1; i < grid.timesteps.size(); ++i) {
    const double next = grid.sigmas[i], middle = repeats == Repeats::ancestral_midpoints
                                                     ? next
                                                     : std::sqrt(grid.sigmas[i - 1] * next);
    timesteps.push_back(table.time_of(middle));
    timesteps.push_back(grid.timesteps[i]);
  }
  grid.timesteps = std::move(timesteps);
  grid.sigmas = doubled(grid.sigmas, repeats == Repeats::inner_midpoints);
  if (repeats != Repeats::inner_midpoints) grid.sigmas.push_back(grid.sigmas.back());
}

/// Replaces the levels of a grid by Karras' or others between the same ends.
void replace_kind(const std::string& kind, const Scheduler& row, const Json& settings,
                  int64_t steps, const NoiseTable& table, DiffusersGrid& grid) {
  const double most = row.whole_chain_ends ? table.ratios().back() : grid.sigmas.front(),
               least = row.whole_chain_ends ? table.ratios().front() : grid.sigmas.back();
  grid.sigmas = kind == "use_karras_sigmas" ? karras_ratios(least, most, steps)
                : kind == "use_beta_sigmas" ? beta_ratios(least, most, steps)
                                            : exponential_ratios(least, most, steps);
  grid.timesteps.clear();
  for (const double sigma : grid.sigmas) grid.timesteps.push_back(table.time_of(sigma));
  const bool rounds = kind == "use_karras_sigmas" || kind == "use_lu_lambdas";
  const bool halves = row.repeats == Repeats::midpoints ||
                      row.repeats == Repeats::ancestral_midpoints;  // the KDPM2 schedulers
  if (rounds && (halves || (row.whole_chain_ends &&
                            settings.value("beta_schedule", std::string()) != "squaredcos_cap_v2")))
    for (double& t : grid.timesteps) t = std::nearbyint(t);
}

}  // namespace

bool knows_scheduler(const std::string& scheduler) { return schedulers().contains(scheduler); }

DiffusersGrid diffusers_grid(const std::string& scheduler, const Json& settings, int64_t length,
                             int64_t steps, Checker& checker) {
  check(knows_scheduler(scheduler), "the grid of ", scheduler, " is not known");
  const Scheduler& row = schedulers().at(scheduler);
  check_settings(settings);
  const Schedule chain = diffusers_chain(settings, length);
  DiffusersGrid grid{spaced(row, settings, length, steps, chain, checker), {}};
  if (row.repeats == Repeats::pndm) repeat_for_pndm(settings, length, steps, grid.timesteps);
  if (row.sigmas == Sigmas::none) return grid;

  const NoiseTable table = noise_table(chain, checker);
  for (const double t : grid.timesteps) grid.sigmas.push_back(table.linear_at(t));
  for (const char* kind :
       {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"})
    if (settings.value(kind, false)) replace_kind(kind, row, settings, steps, table, grid);

  const std::string end = row.sigmas == Sigmas::end_in_zero    ? "zero"
                          : row.sigmas == Sigmas::end_in_least ? "sigma_min"
                          : settings.contains("final_sigmas_type")
                              ? settings["final_sigmas_type"].get<std::string>()
                              : "zero";
  check(end == "zero" || end == "sigma_min", "final_sigmas_type '", end, "' is not understood");
  grid.sigmas.push_back(end == "zero" ? 0 : table.ratios().front());
  if (row.repeats == Repeats::heun) {
    grid.timesteps = doubled(grid.timesteps, false);
    grid.sigmas = doubled(grid.sigmas, true);
  }
  if (row.repeats != Repeats::none && row.repeats != Repeats::heun)
    repeat_at_midpoints(table, row.repeats, grid);
  return grid;
}

}  // namespace tweedie::reference
