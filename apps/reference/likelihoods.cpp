// score_sde's and k-diffusion's likelihoods by the probability flow, with their own probes.
#include <cmath>
#include <numbers>

#include "mixture.h"
#include "peer_losses.h"
#include "tweedie/model/ode.h"

namespace tweedie::reference {
namespace {

constexpr double kSmallestTime = 1e-5;  // score_sde's eps
constexpr double kTolerance = 1e-10;    // the peers' tight one; their loose ones differ from it by
                                        // less than the case allows

Denoiser denoiser_of(const Mixture& mixture) {
  return [mixture](const Tensor& x, Levels levels, const Condition&) {
    std::vector<Tensor> rows;
    for (int64_t i = 0; i < x.size(0); ++i)
      rows.push_back(mixture.x0(x.narrow(0, i, 1), levels[static_cast<size_t>(i)]));
    return Prediction{at::cat(rows), {}};
  };
}

LogProb flow_log_prob(const Case& the_case, const Schedule& schedule, int64_t rows, bool exact) {
  OdeOptions options;
  options.rtol = options.atol = kTolerance;
  options.max_evaluations = 100000;
  options.numerical_error = false;
  if (!exact) options.given_probes = {the_case.tensor("hutchinson").narrow(0, 0, rows)};
  const Mixture mixture = mixture_of(the_case, the_case.config.at("gmm"));
  return ode_log_prob(denoiser_of(mixture), schedule, the_case.tensor("x").narrow(0, 0, rows), {},
                      options);
}

Schedule song_schedule(const Json& config) {
  const std::string sde = config.at("sde");
  if (sde == "vesde") {
    Schedule schedule = ve(config.at("sigma_min"), config.at("sigma_max"));
    schedule.t_min = config.at("eps");
    return schedule;
  }
  const double low = config.at("beta_min"), high = config.at("beta_max"), first = config.at("eps");
  return sde == "vpsde" ? vp_linear(low, high, first) : sub_vp(low, high, first);
}

void run_song_likelihood(const Case& the_case, Checker& checker) {
  const Schedule schedule = song_schedule(the_case.config);
  const int64_t batch = the_case.tensor("x").size(0);
  const LogProb got = flow_log_prob(the_case, schedule, batch, false);
  const Tensor& probe = the_case.tensor("hutchinson");
  const double dims = static_cast<double>(probe[0].numel());
  // Their probes also take the divergence of the drift f x, ours know it: |v|^2 in place of D.
  const Tensor of_drift =
      (row_dots(probe, probe) - dims) * std::log(got.noise.alpha / got.data.alpha);
  const Tensor nats = got.nats + of_drift;
  checker.compare("log_likelihood_nats", nats);
  // 7 - inverse_scaler(-1) with the identity for a scaler.
  checker.compare("bpd", -nats / (dims * std::numbers::ln2) + 8);
  checker.compare("z", got.latent);
  if (!the_case.has("exact_trace_log_likelihood_nats")) return;
  checker.compare("exact_trace_log_likelihood_nats",
                  flow_log_prob(the_case, schedule, batch / 2, true).nats);
}

void run_crowson_likelihood(const Case& the_case, Checker& checker) {
  const Schedule schedule = edm(the_case.config.at("sigma_min"), the_case.config.at("sigma_max"));
  const int64_t batch = the_case.tensor("x").size(0);
  const LogProb got = flow_log_prob(the_case, schedule, batch, false);
  checker.compare("tight.log_likelihood", got.nats);
  checker.compare("default.log_likelihood", got.nats, 1e-2);  // as the case's tolerance notes
  checker.compare("latent", got.latent);
  const LogProb exact = flow_log_prob(the_case, schedule, batch / 2, true);
  checker.compare("exact_trace_log_likelihood", exact.nats);
}

Refusal unknown_config(const Json& row, const std::vector<std::string>& known) {
  return unknown_keys("config", row.value("config", Json::object()), known);
}

}  // namespace

Plan plan_song_likelihood(const Json& row) {
  const Json config = row.value("config", Json::object());
  const Refusal refusal = first_refusal(
      {unknown_config(row, {"sde", "N", "eps", "hutchinson", "rtol", "atol", "gmm", "beta_min",
                            "beta_max", "sigma_min", "sigma_max"}),
       other_value("sde", config, {"vpsde", "subvpsde", "vesde"}),
       config.value("eps", kSmallestTime) == kSmallestTime ? Refusal() : "eps other than 1e-5"});
  if (!refusal.empty()) return {{}, refusal};
  return {run_song_likelihood, ""};
}

Plan plan_crowson_likelihood(const Json& row) {
  const Refusal refusal = unknown_config(row, {"gmm", "sigma_min", "sigma_max"});
  if (!refusal.empty()) return {{}, refusal};
  return {run_crowson_likelihood, ""};
}

}  // namespace tweedie::reference
