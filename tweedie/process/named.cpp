#include "tweedie/process/named.h"

#include <cmath>

#include "tweedie/base/fields.h"

namespace tweedie {
namespace {

struct NoOptions {
  template <class Visit>
  void fields(Visit&&) {}
};

struct ChainOptions {
  int64_t steps = 1000;
  bool zero_terminal_snr = false;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("steps", steps, "length T of the chain");
    visit("zero_terminal_snr", zero_terminal_snr,
          "shift and scale so that the last step is pure noise");
  }
};

struct BetaOptions {
  int64_t steps = 1000;
  double beta_start = 0, beta_end = 0;  // 0: the published ends, which the row states
  bool zero_terminal_snr = false;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("steps", steps, "length T of the chain");
    visit("beta_start", beta_start,
          "variance added by step 1; 0: the published value, rescaled by 1000/T");
    visit("beta_end", beta_end,
          "variance added by step T; 0: the published value, rescaled by 1000/T");
    visit("zero_terminal_snr", zero_terminal_snr,
          "shift and scale so that the last step is pure noise");
  }
};

struct BetaListOptions {
  std::vector<double> betas = {0.1, 0.3, 0.5, 0.7, 0.9};
  bool zero_terminal_snr = false;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("betas", betas, "variance added by each step");
    visit("zero_terminal_snr", zero_terminal_snr,
          "shift and scale so that the last step is pure noise");
  }
};

struct CosineOptions {
  int64_t steps = 1000;
  double max_beta = 0.999;
  bool zero_terminal_snr = false;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("steps", steps, "length T of the chain");
    visit("max_beta", max_beta, "largest variance added by a step");
    visit("zero_terminal_snr", zero_terminal_snr,
          "shift and scale so that the last step is pure noise");
  }
};

struct VpOptions {
  double beta_min = 0.1, beta_max = 20, t_min = 1e-5;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("beta_min", beta_min, "rate of noise at t = 0");
    visit("beta_max", beta_max, "rate of noise at t = 1");
    visit("t_min", t_min, "smallest time");
  }
};

struct VeOptions {
  double sigma_min = 0.01, sigma_max = 50;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("sigma_min", sigma_min, "noise at t = 0");
    visit("sigma_max", sigma_max,
          "noise at t = 1: about the largest distance between two examples");
  }
};

struct EdmOptions {
  double sigma_min = 0.002, sigma_max = 80;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("sigma_min", sigma_min, "smallest noise");
    visit("sigma_max", sigma_max, "largest noise");
  }
};

struct CosineTimeOptions {
  double t_min = 1e-4, t_max = 0.9999;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("t_min", t_min, "smallest time");
    visit("t_max", t_max, "largest time");
  }
};

struct FlowOptions {
  double t_min = 1e-4, t_max = 1;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("t_min", t_min, "smallest time");
    visit("t_max", t_max, "largest time; below 1 log-SNR is finite, which likelihood needs");
  }
};

struct LogSnrOptions {
  double gamma_min = -13.3, gamma_max = 5;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("gamma_min", gamma_min, "-log SNR at t = 0");
    visit("gamma_max", gamma_max, "-log SNR at t = 1");
  }
};

struct EdmParameterisationOptions {
  double sigma_data = 0.5;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("sigma_data", sigma_data, "standard deviation of the data");
  }
};

struct MixedOptions {
  double vlb_share = 0.5;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("vlb_share", vlb_share, "share of the bound in the weight");
  }
};

struct MinSnrOptions {
  double cap = 5;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("cap", cap, "largest SNR that counts");
  }
};

struct HybridOptions {
  double vlb_weight = 1e-3;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("vlb_weight", vlb_weight, "weight of the bound, which trains the variances");
  }
};

struct EdmObjectiveOptions {
  double log_mean = -1.2, log_std = 1.2, sigma_data = 0.5;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("log_mean", log_mean, "mean of log sigma");
    visit("log_std", log_std, "standard deviation of log sigma");
    visit("sigma_data", sigma_data, "standard deviation of the data");
  }
};

/// A row whose options are a struct: parsed, then handed to `make`.
template <class T, class Options, class Make>
Named<T> row(std::string name, std::string summary, Make make) {
  const std::string where = name;
  return {std::move(name), std::move(summary),
          [make, where](const Json& given) { return make(from_json<Options>(given, where)); },
          fields_help<Options>("    ")};
}

Schedule finish(const std::string& name, const std::vector<double>& betas, bool zero_terminal) {
  return chain_from_betas(name, zero_terminal ? zero_terminal_snr(betas) : betas);
}

BetaOptions with_ends(BetaOptions options, double start, double end) {
  if (options.beta_start == 0) options.beta_start = rescaled_beta(start, options.steps);
  if (options.beta_end == 0) options.beta_end = rescaled_beta(end, options.steps);
  return options;
}

struct LabelOptions {
  double label_scale = 1;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("label_scale", label_scale,
          "times what the network is told (1000 / steps: improved-diffusion's rescale_timesteps)");
  }
};

struct DataScaleOptions {
  double data_scale = 1;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("data_scale", data_scale,
          "our data's extent over that of the network's: 2 if it was trained on [0, 1]");
  }
};

template <class Make>
Named<MakeParameterisation> simple_row(std::string name, std::string summary, Make make) {
  return row<MakeParameterisation, LabelOptions>(
      std::move(name), std::move(summary), [make](const LabelOptions& o) -> MakeParameterisation {
        check(o.label_scale > 0 && std::isfinite(o.label_scale),
              "label_scale: expected a number above 0, got ", o.label_scale);
        return [make, scale = o.label_scale](const NoiseLabel& label) {
          return make([label, scale](const Level& l) { return scale * label(l); });
        };
      });
}

}  // namespace

std::vector<Named<Schedule>> named_schedules() {
  return {
      row<Schedule, BetaOptions>(
          "linear", "chain of DDPM: beta rises linearly, 1e-4 to 0.02 at T = 1000",
          [](const BetaOptions& given) {
            const BetaOptions o = with_ends(given, 1e-4, 0.02);
            return finish("linear", linear_betas(o.steps, o.beta_start, o.beta_end),
                          o.zero_terminal_snr);
          }),
      row<Schedule, BetaOptions>(
          "scaled-linear", "chain of latent diffusion: sqrt(beta) rises linearly, 0.00085 to 0.012",
          [](const BetaOptions& given) {
            const BetaOptions o = with_ends(given, 0.00085, 0.012);
            return finish("scaled-linear", scaled_linear_betas(o.steps, o.beta_start, o.beta_end),
                          o.zero_terminal_snr);
          }),
      row<Schedule, CosineOptions>(
          "cosine", "chain of improved DDPM: alpha_bar is a squared cosine",
          [](const CosineOptions& o) {
            return finish("cosine", cosine_betas(o.steps, o.max_beta), o.zero_terminal_snr);
          }),
      row<Schedule, BetaListOptions>(
          "betas", "chain of the betas that are given",
          [](const BetaListOptions& o) { return finish("betas", o.betas, o.zero_terminal_snr); }),
      row<Schedule, BetaOptions>("sigmoid", "chain whose beta is a sigmoid of the step",
                                 [](const BetaOptions& given) {
                                   const BetaOptions o = with_ends(given, 1e-4, 0.02);
                                   return finish("sigmoid",
                                                 sigmoid_betas(o.steps, o.beta_start, o.beta_end),
                                                 o.zero_terminal_snr);
                                 }),
      row<Schedule, ChainOptions>(
          "sohl-dickstein",
          "chain of 2015: each step erases the same part of the signal, 1/(T - t + 1)",
          [](const ChainOptions& o) {
            return finish("sohl-dickstein", sohl_dickstein_betas(o.steps), o.zero_terminal_snr);
          }),
      row<Schedule, VpOptions>(
          "vp", "continuous, variance preserving, rate of noise linear in t (score SDE)",
          [](const VpOptions& o) { return vp_linear(o.beta_min, o.beta_max, o.t_min); }),
      row<Schedule, VpOptions>(
          "sub-vp", "continuous, variance below VP's (score SDE)",
          [](const VpOptions& o) { return sub_vp(o.beta_min, o.beta_max, o.t_min); }),
      row<Schedule, VeOptions>("ve", "continuous, variance exploding, geometric (NCSN, score SDE)",
                               [](const VeOptions& o) { return ve(o.sigma_min, o.sigma_max); }),
      row<Schedule, EdmOptions>("edm", "continuous, t is the noise itself (EDM)",
                                [](const EdmOptions& o) { return edm(o.sigma_min, o.sigma_max); }),
      row<Schedule, CosineTimeOptions>(
          "cosine-continuous", "continuous, alpha a cosine and sigma a sine of t",
          [](const CosineTimeOptions& o) { return cosine(o.t_min, o.t_max); }),
      row<Schedule, FlowOptions>("flow", "continuous, straight from data to noise (flow matching)",
                                 [](const FlowOptions& o) { return flow(o.t_min, o.t_max); }),
      row<Schedule, LogSnrOptions>(
          "log-snr-linear",
          "continuous, variance preserving, log-SNR falls linearly (VDM): for likelihood",
          [](const LogSnrOptions& o) { return log_snr_linear(o.gamma_min, o.gamma_max); }),
      row<Schedule, LogSnrOptions>("learned",
                                   "continuous, learned with the network (VDM): the bound's own "
                                   "ends, and least noise between",
                                   [](const LogSnrOptions& o) {
                                     Schedule start = log_snr_linear(
                                         o.gamma_min, o.gamma_max);  // where training begins
                                     start.name = "learned";
                                     return start;
                                   }),
  };
}

std::vector<Named<MakeParameterisation>> named_parameterisations() {
  return {
      simple_row("eps", "the noise (DDPM)", eps_prediction),
      simple_row("x0", "the clean data", x0_prediction),
      simple_row("v", "alpha eps - sigma x0 (progressive distillation): good at every noise",
                 v_prediction),
      simple_row("velocity", "eps - x0 (flow matching)", velocity_prediction),
      simple_row("score", "the gradient of log p(x_t) (score matching)", score_prediction),
      row<MakeParameterisation, EdmParameterisationOptions>(
          "edm", "a residual scaled to unit variance (EDM)",
          [](const EdmParameterisationOptions& o) -> MakeParameterisation {
            return [sigma_data = o.sigma_data](const NoiseLabel&) {
              return edm_prediction(sigma_data);
            };
          }),
      row<MakeParameterisation, NoOptions>(
          "ve", "minus the noise, told log sigma (EDM's name for score SDE's networks)",
          [](const NoOptions&) -> MakeParameterisation {
            return [](const NoiseLabel&) { return ve_prediction(); };
          }),
      row<MakeParameterisation, DataScaleOptions>(
          "ve-score", "the score, told sigma itself (score SDE's VE networks in diffusers)",
          [](const DataScaleOptions& o) -> MakeParameterisation {
            return [scale = o.data_scale](const NoiseLabel&) { return ve_score_prediction(scale); };
          }),
      row<MakeParameterisation, NoOptions>(
          "vp", "the noise, input scaled to variance 1, told the time of the VP SDE (EDM's name)",
          [](const NoOptions&) -> MakeParameterisation {
            return [](const NoiseLabel&) { return vp_prediction(); };
          }),
      row<MakeParameterisation, ChainOptions>(
          "iddpm", "the noise, input scaled to variance 1, told the nearest step of a cosine chain",
          [](const ChainOptions& o) -> MakeParameterisation {
            return [steps = o.steps](const NoiseLabel&) { return iddpm_prediction(steps); };
          }),
  };
}

std::vector<Named<MakeObjective>> named_objectives() {
  return {
      row<MakeObjective, NoOptions>(
          "simple", "L_simple: every step alike",
          [](const NoOptions&) -> MakeObjective { return simple_objective; }),
      row<MakeObjective, NoOptions>(
          "unweighted",
          "the network's own error: flow matching with velocity; for v where a chain ends in noise",
          [](const NoOptions&) -> MakeObjective { return unweighted_objective; }),
      row<MakeObjective, NoOptions>(
          "vlb", "the variational bound's diffusion part: best likelihood",
          [](const NoOptions&) -> MakeObjective { return vlb_objective; }),
      row<MakeObjective, NoOptions>(
          "likelihood", "vlb's mean with t drawn by its weight g^2/sigma^2: less noise (score SDE)",
          [](const NoOptions&) -> MakeObjective { return likelihood_objective; }),
      row<MakeObjective, NoOptions>(
          "bound", "the whole bound of a chain, its decoder included, for any reverse variance",
          [](const NoOptions&) -> MakeObjective { return bound_objective; }),
      row<MakeObjective, HybridOptions>(
          "hybrid", "L_simple and, for learned variances, the bound (improved DDPM)",
          [](const HybridOptions& o) -> MakeObjective {
            return
                [o](const Schedule& schedule) { return hybrid_objective(schedule, o.vlb_weight); };
          }),
      row<MakeObjective, MixedOptions>("mixed", "the bound and what pictures need, in shares",
                                       [](const MixedOptions& o) -> MakeObjective {
                                         return [o](const Schedule& schedule) {
                                           return mixed_objective(schedule, o.vlb_share);
                                         };
                                       }),
      row<MakeObjective, MinSnrOptions>(
          "min-snr", "L_simple with little weight on nearly clean data",
          [](const MinSnrOptions& o) -> MakeObjective {
            return [o](const Schedule& schedule) { return min_snr_objective(schedule, o.cap); };
          }),
      row<MakeObjective, EdmObjectiveOptions>(
          "edm", "log-normal noise and unit-variance loss (EDM)",
          [](const EdmObjectiveOptions& o) -> MakeObjective {
            return [o](const Schedule& schedule) {
              return edm_objective(schedule, o.log_mean, o.log_std, o.sigma_data);
            };
          }),
  };
}

}  // namespace tweedie
