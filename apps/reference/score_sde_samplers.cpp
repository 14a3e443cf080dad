// The cases of score_sde's sampling.py: predictor-corrector samplers, and its ODE by SciPy.
#include <cmath>

#include "peer_samplers.h"
#include "peer_tables.h"
#include "scipy_rk45.h"
#include "score_sde_process.h"
#include "score_sde_samplers.h"
#include "trajectory.h"
#include "tweedie/process/compat.h"
#include "tweedie/samplers/reverse_sde.h"

namespace tweedie::reference {
namespace {

/// A case's process and methods, and what its network hears.
struct SongCase {
  SongSde sde;
  std::string predictor, corrector;
  double eps;
  bool continuous;  // the network hears t, not the number of a level
  bool exploding;

  explicit SongCase(const Json& config)
      : sde(song_sde(config)),
        predictor(config.value("predictor", std::string("reverse_diffusion"))),
        corrector(config.value("corrector", std::string("none"))),
        eps(number_of(config, "eps")),
        continuous(config.value("continuous", true) || !sde.discrete),
        exploding(sde.name == "vesde") {
    // Without levels the peer discretises the SDE by Euler's method.
    if (predictor == "reverse_diffusion" && !sde.discrete) predictor = "euler_maruyama";
  }

  /// What the network hears at t, and the level it takes its input for.
  Level seen(double t) const {
    if (continuous) {
      Level level = sde.schedule.at(t);
      level.t = exploding ? level.sigma : 999 * t;
      return level;
    }
    const double last = static_cast<double>(sde.steps - 1);
    const double number = exploding ? std::nearbyint((1 - t) * last) : t * last;
    Level level = sde.discrete(exploding ? sde.steps - 1 - static_cast<int64_t>(number)
                                         : static_cast<int64_t>(number));
    level.t = number;
    return level;
  }
};

/// Our level is that of the step, the network's another one: they have the score in common.
NetworkView song_view(const SongCase& song) {
  const auto around = [song](Denoiser network) {
    return [=](const Tensor& x, Levels levels, const Condition& condition) {
      const Level level = levels.front(), seen = song.seen(level.t);
      const Tensor score = score_from_x0(x, network(x, {seen}, condition).x0, seen);
      return Prediction{(x + level.sigma * level.sigma * score) / level.alpha, {}};
    };
  };
  return {.prediction = song.exploding ? "score" : "epsilon", .around = around};
}

Level at_time(Level level, double t) {
  level.t = t;
  return level;
}

/// The step of the grid at t, of which `next` is the next time.
Transition song_step(const SongCase& song, double t, double next) {
  const SongSde& sde = song.sde;
  const int64_t i = sde.index_of(t);
  const Level level = sde.discrete ? sde.discrete(i) : clean,
              before = sde.discrete ? sde.discrete(i - 1) : clean;
  const double kept = level.alpha / before.alpha;  // the share of signal sizes Langevin steps
  if (song.predictor == "euler_maruyama") {
    // Euler's step asks of its end only the time.
    const Level from = sde.schedule.at(t);
    return {from, {t - 1 / static_cast<double>(sde.steps), from.alpha / kept, 0, NAN, NAN}};
  }
  if (song.corrector == "ald") return {{t, kept, sde.schedule.at(t).sigma, NAN, NAN}, clean};
  return {at_time(level, t), at_time(before, next)};
}

std::vector<Transition> song_steps(const SongCase& song) {
  const std::vector<double> times = numpy_linspace(1, song.eps, song.sde.steps);
  std::vector<Transition> steps;
  for (size_t i = 0; i < times.size(); ++i)
    steps.push_back(song_step(song, times[i], i + 1 < times.size() ? times[i + 1] : 0));
  return steps;
}

/// As few paths as the steps make.
std::vector<Path> joined(const std::vector<Transition>& steps) {
  std::vector<Path> paths;
  for (const auto& [from, to] : steps) {
    const bool follows = !paths.empty() && paths.back().back().alpha == from.alpha &&
                         paths.back().back().sigma == from.sigma;
    if (follows)
      paths.back().push_back(to);
    else
      paths.push_back({from, to});
  }
  return paths;
}

std::string our_predictor(const SongCase& song) {
  if (song.predictor == "euler_maruyama") return "euler-maruyama";
  if (song.predictor == "reverse_diffusion") return "reverse-diffusion";
  if (song.predictor == "none") return "none";
  return song.exploding ? "ancestral" : "ancestral-large";
}

ReverseSdeOptions song_options(const SongCase& song, const Json& config) {
  ReverseSdeOptions options{.predictor = our_predictor(song)};
  options.flow = config.value("probability_flow", false);
  options.corrections = song.corrector == "none" ? 0 : config.value("n_steps", int64_t{1});
  options.size = song.corrector == "ald" ? "sigma" : "snr";
  options.snr = number_of(config, "snr");
  options.step = 2 * options.snr * options.snr;
  options.noise_at_end = options.batch_norms = true;
  return options;
}

void name_conventions(const SongCase& song, Checker& checker) {
  if (song.predictor == "euler_maruyama")
    checker.compatibility("score_sde: Euler-Maruyama steps by 1/N on a grid of other steps");
  else if (song.continuous)
    checker.compatibility("score_sde: a step's coefficients and its score are of different times");
  if (song.corrector == "langevin")
    checker.compatibility("score_sde: Langevin steps sized by norms averaged over the batch");
  if (song.predictor == "none")
    checker.compatibility("score_sde: Langevin dynamics ends in its last state, not in E[x0 | x]");
}

void compare_discrete_table(const Case& the_case, Checker& checker, const SongSde& sde) {
  for (const char* name : {"discrete_betas", "discrete_sigmas"})
    if (the_case.has(name)) checker.compare(name, to_tensor(sde.discrete_table()));
}

Tensor song_start(const Case& the_case, const SongSde& sde) {
  return sde.schedule.prior_std * the_case.tensor("x_T");
}

/// Each step once more from the state it began with, this time without the noise at its end.
std::vector<Tensor> song_means(const Case& the_case, const SongCase& song,
                               ReverseSdeOptions options, const std::vector<Transition>& steps,
                               const std::vector<Tensor>& x) {
  if (song.predictor == "none") return {x.begin() + 1, x.end()};
  options.noise_at_end = false;
  const Sampler sampler = reverse_sde(options);
  Evaluations unused;
  const Denoiser denoiser =
      exact_denoiser(mixture_of(the_case, the_case.config.at("gmm")), song_view(song), &unused);
  const StepDraws draws = recorded_draws(the_case);
  std::vector<Tensor> means;
  for (size_t i = 0; i < steps.size(); ++i) {
    const Noise noise = [&, k = int64_t{0}](const Tensor&, const Level&, const Level&) mutable {
      return draws(static_cast<int64_t>(i), k++);
    };
    means.push_back(sampler(denoiser, x[i], {steps[i].from, steps[i].to}, {}, noise, {}));
  }
  return means;
}

void run_pc(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  const SongRun song = run_song(the_case, config, checker);
  checker.compare("x", at::stack(song.run.x));
  checker.compare("x_mean", at::stack(song.means));
  checker.compare("x_final", config.value("denoise", true) ? song.means.back() : song.run.x.back());
  compare_calls(the_case, checker, song.run.evaluations);
}

/// A predictor's step from eps, without its noise.
Tensor denoised_at_end(const SongCase& song, const Denoiser& denoiser, const Tensor& x) {
  const auto [from, to] = song_step(song, song.eps, 0);
  return reverse_sde({.predictor = our_predictor(song)})(denoiser, x, {from, to}, {}, {}, {});
}

/// The probability flow from 1 to eps, for the whole batch as one vector.
void run_ode(const Case& the_case, Checker& checker) {
  checker.compatibility("score_sde: SciPy's RK45, one step size and error for the whole batch");
  const Json& config = the_case.config;
  const SongCase song(config);
  compare_discrete_table(the_case, checker, song.sde);
  Evaluations unused;
  const Denoiser denoiser =
      exact_denoiser(mixture_of(the_case, config.at("gmm")), song_view(song), &unused);
  const auto slope = [&](double t, const Tensor& x) {
    const Level level = song.sde.schedule.at(t);
    return velocity_from_x0(x, denoiser(x, level, {}).x0, level);
  };
  const OdeSolution solution = scipy_rk45(slope, 1, song.eps, song_start(the_case, song.sde),
                                          number_of(config, "rtol"), number_of(config, "atol"));
  checker.compare("nfe", at::scalar_tensor(solution.evaluations, at::kLong));
  checker.compare("x_final", config.value("denoise", false)
                                 ? denoised_at_end(song, denoiser, solution.y)
                                 : solution.y);
}

Refusal pc_refusal(const Json& config) {
  const std::string predictor = text_or_empty(config, "predictor"),
                    corrector = text_or_empty(config, "corrector");
  if (text_or_empty(config, "sde") == "subvpsde" &&
      (corrector != "none" || predictor == "ancestral_sampling"))
    return "sub-VP with a corrector or an ancestral predictor, which the peer has not: not in this "
           "release";
  if (corrector == "ald" && predictor != "none")
    return "corrector ald with a predictor: not in this release";
  return first_refusal(
      {unknown_keys("config", config,
                    {"gmm", "sampler", "sde", "predictor", "corrector", "n_steps", "denoise",
                     "probability_flow", "continuous", "keep_calls", "beta_min", "beta_max",
                     "sigma_min", "sigma_max", "N", "eps", "snr", "inputs"}),
       other_value("predictor", config,
                   {"euler_maruyama", "reverse_diffusion", "ancestral_sampling", "none"}),
       other_value("corrector", config, {"langevin", "ald", "none"})});
}

Refusal ode_refusal(const Json& config) {
  return unknown_keys("config", config,
                      {"gmm", "sampler", "sde", "denoise", "rtol", "atol", "beta_min", "beta_max",
                       "sigma_min", "sigma_max", "N", "eps", "snr", "inputs"});
}

}  // namespace

SongRun run_song(const Case& the_case, const Json& config, Checker& checker) {
  const SongCase song(config);
  const std::vector<Transition> steps = song_steps(song);
  const ReverseSdeOptions options = song_options(song, config);
  name_conventions(song, checker);
  compare_discrete_table(the_case, checker, song.sde);
  const PeerRun run =
      run_peer(the_case, song_view(song), reverse_sde(options), song_start(the_case, song.sde),
               joined(steps), recorded_draws(the_case));
  return {run, song_means(the_case, song, options, steps, run.x)};
}

Plan plan_score_sde_sampler(const Json& row) {
  const Json config = row.value("config", Json::object());
  const bool ode = text_or_empty(config, "sampler") == "ode";
  const Refusal refusal = first_refusal({other_value("sampler", config, {"pc", "ode"}),
                                         other_value("sde", config, {"vesde", "vpsde", "subvpsde"}),
                                         ode ? ode_refusal(config) : pc_refusal(config)});
  if (!refusal.empty()) return {{}, refusal};
  return {ode ? run_ode : run_pc, ""};
}

}  // namespace tweedie::reference
