// Losses of EDM and of k-diffusion's Denoiser: x_t = x_0 + sigma eps.
#include <cmath>

#include "mixture.h"
#include "peer_losses.h"
#include "tweedie/base/error.h"
#include "tweedie/model/objective.h"

namespace tweedie::reference {
namespace {

Level level_of_sigma(double sigma) { return {sigma, 1, sigma, 0, 1}; }

double sigma_label(const Level& level) { return level.sigma; }

/// E[x_0 | x_t] of each example at its own sigma, which is its label.
struct MixtureNetwork : Network {
  Mixture mixture;
  Tensor x, out;
  Tensor forward(const Tensor& input, const Tensor& c_noise, const Condition&) override {
    x = input;
    std::vector<Tensor> rows;
    for (int64_t i = 0; i < input.size(0); ++i)
      rows.push_back(mixture.x0(input.narrow(0, i, 1), level_of_sigma(c_noise[i].item<double>())));
    return out = at::cat(rows);
  }
};

/// What a loss draws for a random number, and how it weighs the error there.
struct EdmKind {
  std::function<double(double)> sigma;  // of the case's random number
  Objective objective;
};

EdmKind kind_of(const std::string& source, const Json& config) {
  if (source.find("EDMLoss") != std::string::npos) {
    const Objective objective =
        edm_objective(edm(1e-6, 1e6), config.value("P_mean", -1.2), config.value("P_std", 1.2),
                      config.value("sigma_data", 0.5));
    return {[objective](double normal) {
              return objective.draw(0.5 * std::erfc(-normal / std::sqrt(2.0))).sigma;
            },
            objective};
  }
  // Their weight 1 / sigma^2 of the x0 error is 1 of the eps error.
  if (source.find("VELoss") != std::string::npos) {
    const Schedule schedule = ve(config.value("sigma_min", 0.02), config.value("sigma_max", 100.0));
    return {[schedule](double u) { return schedule.at(u).sigma; }, simple_objective(schedule)};
  }
  check(source.find("VPLoss") != std::string::npos, "loss '", source, "' is unknown");
  const double beta_min = config.value("beta_min", 0.1), last = config.value("epsilon_t", 1e-5);
  const Schedule schedule = vp_linear(beta_min, beta_min + config.value("beta_d", 19.9), last);
  return {[=](double u) {
            const Level level = schedule.at(1 + u * (last - 1));
            return level.sigma / level.alpha;
          },
          simple_objective(schedule)};
}

void run_edm(const Case& the_case, Checker& checker) {
  const EdmKind kind = kind_of(text_or_empty(the_case.row, "source"), the_case.config);
  const Tensor drawn = the_case.tensor("rnd").flatten();
  std::vector<Level> levels;
  Tensor sigma = at::empty_like(drawn);
  for (int64_t i = 0; i < drawn.size(0); ++i) {
    levels.push_back(level_of_sigma(kind.sigma(drawn[i].item<double>())));
    sigma[i] = levels.back().sigma;
  }
  MixtureNetwork network;
  network.mixture = mixture_of(the_case, the_case.config.at("gmm"));
  const Tensor loss =
      denoising_loss(network, x0_prediction(sigma_label), kind.objective,
                     {the_case.tensor("images"), {}}, levels, the_case.tensor("noise"));
  checker.compare("sigma", sigma.view_as(the_case.tensor("sigma")));
  checker.compare("noisy", network.x);
  checker.compare("denoised", network.out);
  checker.compare("loss (mean)", loss, the_case.tensor("loss").flatten(1).mean(1));
}

struct TanhNetwork : Network {
  Tensor forward(const Tensor& x, const Tensor&, const Condition&) override {
    return 0.7 * x.tanh();
  }
};

/// k-diffusion weighs the error of the network itself, ours is of eps.
Objective kdiffusion_objective(const std::string& weighting, double sigma_data) {
  const Objective karras = edm_objective(edm(), -1.2, 1.2, sigma_data);
  if (weighting == "karras") return karras;
  check(weighting == "snr" || weighting == "soft-min-snr", "k-diffusion: weighting '", weighting,
        "' is unknown");
  return {weighting, {}, [=](const Level& level) {
            const double of_data = sigma_data * sigma_data, of_noise = level.sigma * level.sigma,
                         total = of_data + of_noise;
            const double more =
                weighting == "snr" ? of_data / total : of_data * of_noise / (total * total);
            return more * karras.weight(level);
          }};
}

void run_kdiffusion(const Case& the_case, Checker& checker) {
  const Tensor &x = the_case.tensor("x"), &noise = the_case.tensor("noise");
  const Tensor sigma = the_case.tensor("sigma");
  std::vector<Level> levels;
  for (int64_t i = 0; i < sigma.size(0); ++i)
    levels.push_back(level_of_sigma(sigma[i].item<double>()));
  const auto network = std::make_shared<TanhNetwork>();
  for (const auto& [name, expected] : the_case.tensors) {
    const size_t data = name.find("sigma_data");
    if (data == std::string::npos) continue;
    const size_t last = name.rfind('.');
    const std::string what = name.substr(last + 1);
    const double sigma_data = std::stod(name.substr(data + 10, last - data - 10));
    const Parameterisation meaning = edm_prediction(sigma_data);
    if (what == "loss") {
      const Objective objective = kdiffusion_objective(name.substr(0, data - 1), sigma_data);
      checker.compare(name, denoising_loss(*network, meaning, objective, {x, {}}, levels, noise));
    } else if (what == "forward") {
      checker.compare(name, make_denoiser(network, meaning)(x, levels, {}).x0);
    } else {
      check(what == "c_skip_c_out_c_in", "k-diffusion: '", name, "' is unknown");
      const auto row = [&](double Scaling::*member) {
        return per_example(
                   levels, [&](const Level& level) { return meaning(level).*member; }, sigma)
            .flatten();
      };
      checker.compare(
          name, at::stack({row(&Scaling::c_skip), row(&Scaling::c_out), row(&Scaling::c_in)}));
    }
  }
}

}  // namespace

Plan plan_edm_loss(const Json& row) {
  const Refusal refusal = unknown_keys("config", row.value("config", Json::object()),
                                       {"gmm", "P_mean", "P_std", "sigma_data", "sigma_min",
                                        "sigma_max", "beta_min", "beta_d", "epsilon_t"});
  return refusal.empty() ? Plan{run_edm, ""} : Plan{{}, refusal};
}

Plan plan_kdiffusion_loss(const Json& row) {
  const Refusal refusal = unknown_keys("config", row.value("config", Json::object()), {});
  return refusal.empty() ? Plan{run_kdiffusion, ""} : Plan{{}, refusal};
}

}  // namespace tweedie::reference
