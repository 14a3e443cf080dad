#include "tweedie/registry.h"

#include <algorithm>
#include <cstdlib>

#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/spec.h"
#include "tweedie/datasets/split.h"
#include "tweedie/nets/dit.h"
#include "tweedie/nets/mlp.h"
#include "tweedie/nets/unet.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/ddpm.h"
#include "tweedie/samplers/dpm_adaptive.h"
#include "tweedie/samplers/linear_multistep.h"
#include "tweedie/samplers/multistep.h"
#include "tweedie/samplers/ode.h"
#include "tweedie/samplers/renoise.h"
#include "tweedie/samplers/reverse_sde.h"
#include "tweedie/samplers/runge_kutta.h"
#include "tweedie/samplers/sde_adaptive.h"
#include "tweedie/samplers/single_step.h"

namespace tweedie {
namespace {

template <class T>
std::map<std::string, Entry<T>> entries(const std::vector<Named<T>>& rows) {
  std::map<std::string, Entry<T>> out;
  for (const Named<T>& row : rows) out[row.name] = {row.summary, row.make, row.options};
  return out;
}

template <class Options>
constexpr bool kClips = requires(Options o) {
  o.clip;
};

/// One of the names of a sampler: `defaults` are what a user's options change.
template <class Options>
SamplerEntry sampler_entry(const std::string& name, std::string summary, Sampler (*make)(Options),
                           Options defaults, SamplerFacts facts) {
  return {{std::move(summary),
           [=](const Json& given) {
             Options options = defaults;
             set_fields(options, given, name);
             return make(options);
           },
           fields_help("    ", defaults)},
          std::move(facts),
          kClips<Options>};
}

std::map<std::string, SamplerEntry> named_samplers() {
  std::map<std::string, SamplerEntry> all;
  const auto add = [&](const std::string& name, const std::string& summary, auto make,
                       auto defaults, SamplerFacts facts) {
    all[name] = sampler_entry(name, summary, make, defaults, std::move(facts));
  };
  const bool no = false, yes = true;
  add("ddpm", "ancestral sampling", ddpm, DdpmOptions{},
      {"1", {1}, yes, "hundreds of steps; the chain that the bound is about"});
  add("ddim", "first-order probability flow, with eta > 0 stochastic", ddim, DdimOptions{},
      {"1", {1}, no, "a robust default for 20 to 100 steps"});

  add("euler", "Euler's method in sigma / alpha, with EDM's churn if wanted", runge_kutta,
      RungeKuttaOptions{.order = 1},
      {"1", {1}, no, "as ddim without clipping; churn repairs errors of the network", "karras"});
  add("heun", "Heun's method in sigma / alpha, with EDM's churn if wanted", runge_kutta,
      RungeKuttaOptions{}, {"2", {2, -1}, no, "EDM's own: 18 steps", "karras"});
  add("midpoint", "EDM's second-order family with the inner evaluation half way", runge_kutta,
      RungeKuttaOptions{.stage = 0.5}, {"2", {2, -1}, no, "beside heun", "karras"});
  add("flow-euler", "Euler's method in t: what flow matching uses", runge_kutta,
      RungeKuttaOptions{.order = 1, .clock = "time"},
      {"1", {1}, no, "flow-matching models; on flow the same as ddim"});
  add("flow-heun", "Heun's method in t", runge_kutta, RungeKuttaOptions{.clock = "time"},
      {"2", {2, -1}, no, "flow-matching models"});

  add("dpm-1", "DPM-Solver-1: the same as ddim", single_step,
      SingleStepOptions{.order = 1, .form = "eps"}, {"1", {1}, no, "for comparison", "log-snr"});
  add("dpm-2", "DPM-Solver-2, also called DPM2 or KDPM2", single_step,
      SingleStepOptions{.order = 2, .form = "eps"},
      {"2", {2, -1}, no, "10 to 20 steps without guidance", "log-snr"});
  add("dpm-3", "DPM-Solver-3", single_step, SingleStepOptions{.order = 3, .form = "eps"},
      {"3", {3, -2}, no, "accuracy: 10 to 20 steps without guidance", "log-snr"});
  add("dpm++2s", "DPM-Solver++(2S)", single_step, SingleStepOptions{},
      {"2", {2, -1}, no, "10 to 20 steps with guidance", "log-snr"});
  add("dpm++2s-ancestral", "DPM-Solver++(2S) with ancestral noise", single_step,
      SingleStepOptions{.eta = 1}, {"1", {2, -1}, yes, "20 to 50 steps", "karras"});
  add("dpm++sde", "SDE-DPM-Solver++(2S), noise at the inner level too", single_step,
      SingleStepOptions{.eta = 1, .noisy_stages = true},
      {"1", {2, -1}, yes, "20 to 50 steps", "karras"});
  add("dpm-adaptive", "DPM-Solver-23 with steps of its own choosing, each sample its own",
      dpm_adaptive, DpmAdaptiveOptions{},
      {"3", {0}, no, "an error wanted instead of a number of steps", "log-snr"});

  add("dpm++2m", "DPM-Solver++(2M)", multistep, MultistepOptions{.closure = "half"},
      {"2", {1}, no, "the first to try: 15 to 30 steps, with or without guidance", "karras"});
  add("dpm++3m", "DPM-Solver++(3M), corrected to third order", multistep,
      MultistepOptions{.order = 3},
      {"3", {1}, no, "accuracy: 20 steps and more without guidance", "log-snr"});
  add("dpm++3m-customary", "DPM-Solver++(3M) as it is widespread, half of the curvature missing",
      multistep, MultistepOptions{.order = 3, .closure = "half", .half_curvature = true},
      {"2", {1}, no, "the same images as other programs", "log-snr"});
  add("dpm++2m-sde", "SDE-DPM-Solver++(2M)", multistep,
      MultistepOptions{.closure = "half", .eta = 1},
      {"1", {1}, yes, "25 to 50 steps; noise repairs errors of the network", "karras"});
  add("dpm++3m-sde", "SDE-DPM-Solver++(3M)", multistep, MultistepOptions{.order = 3, .eta = 1},
      {"1", {1}, yes, "50 steps and more", "karras"});
  add("dpm-2m", "DPM-Solver-2, multistep", multistep,
      MultistepOptions{.form = "eps", .closure = "half"},
      {"2", {1}, no, "without guidance", "log-snr"});
  add("deis", "DEIS: exponential Adams-Bashforth in eps", multistep,
      MultistepOptions{.order = 3, .form = "eps"},
      {"3", {1}, no, "10 to 20 steps without guidance", "log-snr"});
  add("unipc", "UniPC-3: dpm++3m whose steps are corrected at no extra evaluation", multistep,
      MultistepOptions{.order = 3, .closure = "half", .corrector = 4},
      {"4", {1}, no, "the fewest steps: 5 to 15", "log-snr"});
  add("sa-solver", "SA-Solver: stochastic Adams with a corrector", multistep,
      MultistepOptions{.order = 2, .eta = 1, .corrector = 2},
      {"1", {1}, yes, "20 to 100 steps", "karras"});
  add("lms", "linear multistep: Adams-Bashforth in sigma / alpha", linear_multistep,
      LinearMultistepOptions{}, {"4, as its start allows", {1}, no, "for comparison", "karras"});
  add("plms", "pseudo linear multistep (PNDM without its Runge-Kutta start)", linear_multistep,
      LinearMultistepOptions{.weights = "even", .start = "heun"},
      {"1, on even log-SNR 2", {1, 0, 1, 1}, no, "old models made with it"});
  add("pndm", "PNDM: pseudo Runge-Kutta, then pseudo linear multistep", linear_multistep,
      LinearMultistepOptions{.weights = "even", .start = "runge-kutta"},
      {"1, on even log-SNR 2", {1, 0, 3, 3}, no, "old models made with it"});
  add("ipndm", "PLMS that starts with lower orders", linear_multistep,
      LinearMultistepOptions{.weights = "even"},
      {"1, on even log-SNR 2", {1}, no, "10 to 20 steps"});

  add("euler-maruyama", "Euler's method for the reverse SDE in t", reverse_sde,
      ReverseSdeOptions{.predictor = "euler-maruyama"},
      {"1", {1}, yes, "continuous schedules, hundreds of steps; for comparison", "time"});
  add("reverse-diffusion", "the forward steps turned round, with Langevin corrections if wanted",
      reverse_sde, ReverseSdeOptions{}, {"1", {1}, yes, "hundreds of steps"});
  add("predictor-corrector", "reverse diffusion with one Langevin correction a step", reverse_sde,
      ReverseSdeOptions{.corrections = 1}, {"1", {2}, yes, "score-matching models, 500 steps"});
  add("annealed-langevin", "Langevin dynamics at falling levels of noise (NCSN)", reverse_sde,
      ReverseSdeOptions{.predictor = "none", .corrections = 5, .size = "sigma"},
      {"none", {5, 1}, yes, "score-matching models on edm and ve", "karras"});
  add("sde-adaptive", "the reverse SDE with steps halved where needed along one Brownian path",
      sde_adaptive, SdeAdaptiveOptions{},
      {"1", {0}, yes, "an error wanted instead of a number of steps", "log-snr"});
  add("ode", "probability flow by Dormand and Prince's method, with steps of each sample's own",
      ode, OdeSamplerOptions{},
      {"5",
       {0},
       no,
       "an exact flow: encoding, comparing models, a reference for other samplers",
       "karras"});
  add("consistency", "jump to the data and add new noise", renoise, RenoiseOptions{},
      {"1", {1}, yes, "distilled models: 1 to 8 steps"});
  return all;
}

}  // namespace

int64_t EvaluationCount::of(int64_t steps) const {
  return per_step * steps + constant + start_each * std::min(start_steps, steps - 1);
}

int64_t EvaluationCount::steps_within(int64_t evaluations) const {
  if (per_step == 0) return 0;
  // of(steps) is a line up to start_steps + 1 steps and another one from there.
  const int64_t after = (evaluations - constant - start_each * start_steps) / per_step;
  if (after > start_steps) return after;
  return std::max<int64_t>(0, (evaluations - constant + start_each) / (per_step + start_each));
}

std::string EvaluationCount::words() const {
  if (per_step == 0) return "as rtol and atol need";
  const int64_t more = constant + start_steps * start_each;
  return (per_step > 1 ? std::to_string(per_step) + " N" : "N") +
         (more == 0 ? "" : (more > 0 ? " + " : " - ") + std::to_string(std::abs(more)));
}

std::string suitable_path(const SamplerFacts& facts, const Schedule& schedule) {
  const bool chain = schedule.steps > 0, pure_noise = schedule.at(schedule.t_max).alpha == 0;
  const bool wants_signal = facts.path == "karras" || facts.path == "log-snr";
  return (wants_signal && pure_noise) || (facts.path == "time" && chain) ? "auto" : facts.path;
}

Registry builtin() {
  Registry registry;
  registry.schedules = entries(named_schedules());
  registry.parameterisations = entries(named_parameterisations());
  registry.objectives = entries(named_objectives());
  registry.samplers = named_samplers();
  registry.networks["unet"] = {
      "U-Net for images of any C, H, W, laid out as diffusers' UNet2DModel", make_unet,
      unet_options_help()};
  registry.networks["dit"] = {"transformer on squares of pixels (DiT, adaLN-Zero)", make_dit,
                              dit_options_help()};
  registry.networks["mlp"] = {"residual MLP for vectors", make_mlp, mlp_options_help()};
  registry.datasets["array"] = {"array:FILE, arrays of NumPy (.npy, .npz): images, vectors, series",
                                make_array, array_options_help()};
  registry.datasets["cifar"] = {"cifar:FOLDER, CIFAR-10 or CIFAR-100 in the binary version",
                                make_cifar, cifar_options_help()};
  registry.datasets["table"] = {"table:FILE.csv, numeric and categorical columns", make_table,
                                table_options_help()};
  registry.datasets["tar"] = {"tar:FILE, PNG and JPEG files in tar shards (WebDataset)", make_tar,
                              tar_options_help()};
  registry.datasets["fashion-mnist"] = {
      "70,000 gray 28x28 pictures of clothes (Debian's dataset-fashion-mnist)", make_fashion_mnist,
      fashion_mnist_options_help()};
  registry.datasets["idx"] = {"idx:FILE, images in MNIST's format, gzipped or not", make_idx,
                              idx_options_help()};
  registry.datasets["images"] = {"images:DIR, PNG and JPEG files; sub-folders are classes",
                                 make_image_folder, image_folder_options_help()};
  registry.datasets["toy"] = {
      "toy:swiss-roll|two-moons|checkerboard|rings|gaussian-mixture, points in the plane", make_toy,
      toy_options_help()};
  return registry;
}

Dataset open_dataset(const Registry& registry, const std::string& spec, const std::string& split,
                     const Json& columns) {
  split_named(split, spec);
  DataSpec parsed = parse_data_spec(spec);
  parsed.options["split"] = split;
  if (!columns.empty() && parsed.name == "table") parsed.options["coding"] = columns;
  return find_entry(registry.datasets, parsed.name, "dataset").make(parsed.options);
}

}  // namespace tweedie
