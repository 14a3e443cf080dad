// score_sde's losses: continuous ones with either weighting, and the discrete ones of DDPM and
// SMLD.
#include <cmath>

#include "peer_losses.h"
#include "tweedie/base/error.h"
#include "tweedie/model/objective.h"
#include "tweedie/process/path.h"

namespace tweedie::reference {
namespace {

/// In place of a network, as the case says.
struct Formula : Network {
  Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition&) override {
    return 0.3 * x.tanh() + 0.001 * c_noise.view({-1, 1, 1, 1});
  }
};

constexpr int64_t kSteps = 1000;  // N
constexpr double kFirst = 1e-5;   // eps, the smallest t
const char* const kProcesses[] = {"vpsde", "subvpsde", "vesde"};

Schedule schedule_of(const std::string& process, const Json& config) {
  if (process == "vesde") return ve(config.at("sigma_min"), config.at("sigma_max"));
  return process == "vpsde" ? vp_linear(config.at("beta_min"), config.at("beta_max"), kFirst)
                            : sub_vp(config.at("beta_min"), config.at("beta_max"), kFirst);
}

/// Half the sum over dimensions, or the mean; then the mean over examples.
Tensor reduced(const Tensor& mean_over_dims, int64_t dims, bool mean) {
  return mean_over_dims.mean() * (mean ? 1.0 : 0.5 * static_cast<double>(dims));
}

/// Song et al. 2021 (arXiv:2011.13456), eq. 7, with weight sigma^2 or g^2.
void compare_continuous(const Case& the_case, Checker& checker, const std::string& process) {
  const Schedule schedule = schedule_of(process, the_case.config);
  const Tensor &x = the_case.tensor("x"), &u = the_case.tensor("u");
  std::vector<Level> levels;
  Tensor t = at::empty_like(u);
  for (int64_t i = 0; i < u.size(0); ++i) {
    levels.push_back(schedule.at(u[i].item<double>() * (1 - kFirst) + kFirst));
    t[i] = levels.back().t;
  }
  checker.compare(process + ".t", t);
  const bool exploding = process == "vesde";
  const Parameterisation meaning =
      exploding ? score_prediction([](const Level& level) { return level.sigma; })
                : eps_prediction([](const Level& level) { return 999 * level.t; });
  const Objective simple = simple_objective(schedule);
  // g^2 / sigma^2 = -d log-SNR / dt, twice the bound's weight for each unit of t.
  Objective likelihood = vlb_objective(schedule);
  likelihood.weight = [weight = likelihood.weight, range = schedule.t_max - schedule.t_min](
                          const Level& level) { return 2 * weight(level) / range; };
  Formula network;
  for (const bool weighted : {false, true})
    for (const bool mean : {false, true}) {
      const Tensor loss = denoising_loss(network, meaning, weighted ? likelihood : simple, {x, {}},
                                         levels, the_case.tensor("z"));
      checker.compare(process + ".likelihood_weighting" + std::to_string(weighted) +
                          ".reduce_mean" + std::to_string(mean),
                      reduced(loss, x[0].numel(), mean));
    }
}

/// For each example; the network hears the integer label.
Tensor discrete_loss(const Case& the_case, const Schedule& schedule,
                     const std::function<Level(int64_t label)>& level_of, bool score) {
  const Tensor labels = the_case.tensor("labels").to(at::kLong);
  std::vector<Level> levels;
  for (int64_t i = 0; i < labels.size(0); ++i)
    levels.push_back(level_of(labels[i].item<int64_t>()));
  size_t next = 0;
  const NoiseLabel label = [&](const Level&) {
    return labels[static_cast<int64_t>(next++)].item<double>();
  };
  Formula network;
  return denoising_loss(network, score ? score_prediction(label) : eps_prediction(label),
                        simple_objective(schedule), {the_case.tensor("x"), {}}, levels,
                        the_case.tensor("z"));
}

void run_song_losses(const Case& the_case, Checker& checker) {
  for (const char* process : kProcesses) compare_continuous(the_case, checker, process);
  const double n = static_cast<double>(kSteps);
  const Schedule chain = chain_from_betas(
      "linear", linear_betas(kSteps, the_case.config.at("beta_min").get<double>() / n,
                             the_case.config.at("beta_max").get<double>() / n));
  const int64_t dims = the_case.tensor("x")[0].numel();
  const auto step = [&](int64_t label) { return chain.at(static_cast<double>(label + 1) / n); };
  checker.compare("vpsde.ddpm", reduced(discrete_loss(the_case, chain, step, false), dims, true));
  // SMLD counts its N sigmas from the largest, and by default sums over dimensions.
  const Schedule exploding = schedule_of("vesde", the_case.config);
  const auto scale = [&](int64_t label) {
    return exploding.at(static_cast<double>(kSteps - 1 - label) / (n - 1));
  };
  checker.compare("vesde.smld",
                  reduced(discrete_loss(the_case, exploding, scale, true), dims, false));
}

}  // namespace

Plan plan_song_losses(const Json& row) {
  const Refusal refusal = unknown_keys("config", row.value("config", Json::object()),
                                       {"beta_min", "beta_max", "sigma_min", "sigma_max"});
  if (!refusal.empty()) return {{}, refusal};
  return {run_song_losses, ""};
}

}  // namespace tweedie::reference
