// improved-diffusion's calc_bpd_loop, its likelihood tables and its loss-aware resampler.
#include <cmath>
#include <numbers>

#include "analytic_network.h"
#include "improved_process.h"
#include "mixture.h"
#include "peer_losses.h"
#include "trajectory.h"
#include "tweedie/base/error.h"
#include "tweedie/model/tanh_decoder.h"
#include "tweedie/process/loss_aware_steps.h"

namespace tweedie::reference {
namespace {

Tensor mean_over_dims(const Tensor& x) { return x.flatten(1).mean(1); }

void run_bound(const Case& the_case, Checker& checker) {
  const ImprovedProcess process(the_case.config);
  const Path path = process.path();
  const Mixture mixture = mixture_of(the_case, the_case.config.at("gmm"));
  const std::string var = the_case.config.at("var");
  const bool learned = var == "LEARNED_RANGE";
  const auto network = std::make_shared<AnalyticNetwork>(
      [&](double label) { return process.level_of_label(label); },
      [&](const Tensor& x, const Level& level) {
        const Tensor eps = eps_from_x0(x, mixture.x0(x, level), level);
        return learned ? at::cat({eps, (3 * x).sin()}, 1) : eps;
      });
  Denoiser denoiser = make_denoiser(network, eps_prediction(process.label()));
  if (the_case.config.at("clip_denoised")) denoiser = clipped(denoiser);
  std::vector<Tensor> x0;
  const Tensor& data = the_case.tensor("x_start");
  const Tensor& noise = the_case.tensor("noise");
  VlbOptions options;
  options.variance = learned                ? Variance::learned
                     : var == "FIXED_SMALL" ? Variance::small
                                            : Variance::large;
  checker.compatibility(kTanhCdf);
  const VlbTerms terms =
      vlb(recording(denoiser, &x0), path, tanh_decoder(decoder_variance(path), learned), data, {},
          recorded_noise(noise.unbind(0)), options);

  const auto bits = [&](const Tensor& nats) {
    return nats / (std::numbers::ln2 * static_cast<double>(data[0].numel()));
  };
  std::vector<Tensor> x0_mse, eps_mse;
  for (size_t k = 0; k < x0.size(); ++k) {
    x0_mse.push_back(mean_over_dims((x0[k] - data).square()));
    const Tensor eps = eps_from_x0(network->calls.x[k], x0[k], path[k]);
    eps_mse.push_back(mean_over_dims((eps - noise[static_cast<int64_t>(k)]).square()));
  }
  checker.compare("vb", at::cat({bits(terms.per_level), bits(terms.decoder).unsqueeze(1)}, 1));
  checker.compare("prior_bpd", bits(terms.prior));
  checker.compare("total_bpd", bits(terms.prior + terms.diffusion + terms.decoder));
  checker.compare("xstart_mse", at::stack(x0_mse, 1));
  checker.compare("mse", at::stack(eps_mse, 1));
}

/// KL(N(mean1, e^logvar1) || N(mean2, e^logvar2)) of numbers by our diffusion term: from pure noise
/// to alpha = 1 the posterior is N(x_0, sigma_s^2), and a learned variance may be any.
Tensor gaussian_kl(const Tensor& mean1, const Tensor& logvar1, const Tensor& mean2,
                   const Tensor& logvar2) {
  std::vector<Level> s, t;
  for (int64_t i = 0; i < mean1.size(0); ++i) {
    const double std = std::exp(0.5 * logvar1[i].item<double>());
    s.push_back({0.5, 1, std, NAN, NAN});
    t.push_back({1, 0, std * std::exp(0.5), NAN, NAN});  // the large variance is e times the small
  }
  const auto column = [](const Tensor& x) { return x.unsqueeze(1); };
  return diffusion_term({column(mean2), column(logvar2 - logvar1)}, column(mean1), s, t,
                        Variance::learned, column(mean1));
}

void run_tables(const Case& the_case, Checker& checker) {
  const auto number = [&](const char* name) { return the_case.tensor(name); };
  checker.compatibility(kTanhCdf);
  checker.compare("cdf.approx", tanh_normal_cdf(number("cdf.x")));
  const Tensor exact = at::special_ndtr(number("cdf.x"));
  checker.expect((exact - number("cdf.approx")).abs().max().item<double>() < 5e-4,
                 "the tanh is near the normal CDF");

  const Tensor mean1 = number("kl.mean1"), logvar1 = number("kl.logvar1");
  checker.compare("kl.value",
                  gaussian_kl(mean1, logvar1, number("kl.mean2"), number("kl.logvar2")));
  checker.compare("kl.to_standard",
                  gaussian_kl(mean1, logvar1, at::zeros_like(mean1), at::zeros_like(mean1)));

  const Tensor means = number("means").clone().requires_grad_(),
               log_scales = number("log_scales").clone().requires_grad_();
  const Tensor log_prob = tanh_log_likelihood(number("x"), means, log_scales);
  log_prob.sum().backward();
  const auto compare = [&](const char* name, const Tensor& got) {
    Tensor rounding = number("rounding_change");
    rounding = at::where(rounding > 1e-11, rounding, at::zeros_like(rounding));
    checker.compare(name, got, number(name), 100 * rounding * (1 + number(name).abs()));
  };
  compare("log_prob", log_prob.detach());
  compare("d_means", means.grad());
  compare("d_log_scales", log_scales.grad());
}

void run_resampler(const Case& the_case, Checker& checker) {
  const int64_t steps = the_case.config.at("num_timesteps");
  LossAwareSteps sampler(steps, {.history = the_case.config.at("history_per_term"),
                                 .uniform_share = the_case.config.at("uniform_prob")});
  const Tensor t = the_case.tensor("t").to(at::kLong), loss = the_case.tensor("loss");
  std::vector<Tensor> got;
  for (int64_t i = 0; i < t.size(0); ++i) {
    sampler.record(t[i].item<int64_t>() + 1, loss[i].item<double>());
    got.push_back(at::tensor(sampler.probabilities(), at::kDouble));
  }
  const Tensor& weights = the_case.tensor("weights");  // of any sum
  checker.compare("weights", at::stack(got), weights / weights.sum(1, true));
}

Plan plan_of(const Json& row, const std::vector<std::string>& known,
             void (*run)(const Case&, Checker&)) {
  const Refusal refusal = unknown_keys("config", row.value("config", Json::object()), known);
  return refusal.empty() ? Plan{run, ""} : Plan{{}, refusal};
}

}  // namespace

Plan plan_improved_bound(const Json& row) {
  const Json config = row.value("config", Json::object());
  const bool head = text_or_empty(config, "var") == "LEARNED_RANGE";
  const Refusal refusal = first_refusal(
      {other_value("schedule", config, {"linear", "cosine"}),
       other_value("var", config, {"FIXED_SMALL", "FIXED_LARGE", "LEARNED_RANGE"}),
       text_or_empty(config, "variance_head") == (head ? "sin(3*x)" : "")
           ? Refusal()
           : "variance_head " + text_or_empty(config, "variance_head") + ": not in this release"});
  if (!refusal.empty()) return {{}, refusal};
  return plan_of(row,
                 {"schedule", "T", "var", "clip_denoised", "gmm", "variance_head", "respacing",
                  "rescale_timesteps"},
                 run_bound);
}

Plan plan_improved_tables(const Json& row) { return plan_of(row, {}, run_tables); }

Plan plan_improved_resampler(const Json& row) {
  return plan_of(row, {"num_timesteps", "history_per_term", "uniform_prob"}, run_resampler);
}

}  // namespace tweedie::reference
