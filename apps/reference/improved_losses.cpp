// improved-diffusion's training_losses: every mean type, variance type and loss type, with the
// gradient in the network's output.
#include <cmath>
#include <numbers>
#include <sstream>

#include "improved_process.h"
#include "peer_losses.h"
#include "tweedie/base/error.h"
#include "tweedie/model/objective.h"
#include "tweedie/model/tanh_decoder.h"
#include "tweedie/process/posterior.h"

namespace tweedie::reference {
namespace {

struct Combination {
  std::string mean, variance, loss;

  explicit Combination(const std::string& name) {
    std::istringstream parts(name);
    std::getline(parts, mean, '.');
    std::getline(parts, variance, '.');
    std::getline(parts, loss);
    check(loss == "MSE" || loss == "RESCALED_MSE" || loss == "KL" || loss == "RESCALED_KL",
          "improved-diffusion: loss '", loss, "' is unknown");
    check(variance == "FIXED_SMALL" || variance == "FIXED_LARGE" || learned(),
          "improved-diffusion: variance '", variance, "' is unknown");
  }
  bool learned() const { return variance == "LEARNED" || variance == "LEARNED_RANGE"; }
  /// The name of the network output that the case gives for it.
  std::string output() const {
    return variance == "LEARNED" ? "model_out.learned" : learned() ? "model_out.2" : "model_out.1";
  }
};

/// Reads the second half of a network's output, a log variance, as the mix that ours stands for.
Tensor log_variance_as_mix(const Tensor& output, const Path& path,
                           const std::vector<int64_t>& places) {
  std::vector<Level> t;
  for (const int64_t place : places) t.push_back(path[static_cast<size_t>(place)]);
  const auto small_of = [&](const Level& level) {
    const double var = posterior(level_after(path, level), level).var;
    return var > 0 ? var : decoder_variance(path);
  };
  const auto log_ratio_of = [&](const Level& level) {
    return std::log(posterior(level_after(path, level), level).var_large / small_of(level));
  };
  const std::vector<Tensor> halves = output.chunk(2, 1);
  const Tensor small = per_example(
      t, [&](const Level& level) { return std::log(small_of(level)); }, halves[1]);
  const Tensor mix = (halves[1] - small) / per_example(t, log_ratio_of, halves[1]);
  return at::cat({halves[0], 2 * mix - 1}, 1);
}

/// Answers what the case says a network answered, and keeps what it was given.
struct Recorded : Network {
  Tensor output, x, label;
  Tensor forward(const Tensor& input, const Tensor& c_noise, const Condition&) override {
    x = input;
    label = c_noise;
    return output;
  }
};

/// Weight 1 of the squared error of the network against its own target.
Objective plain_objective(double vlb_weight) {
  return {"plain",          {},         [](const Level&) { return 1.0; },
          LossKind::hybrid, vlb_weight, ErrorOf::output};
}

/// In the peer's units: the bound's terms in bits, where ours are in nats.
struct Losses {
  Tensor loss, mse, vb;
};

Losses losses_of(const Combination& kind, Network& network, const Parameterisation& meaning,
                 const Case& the_case, const Path& path, const std::vector<int64_t>& places) {
  const Batch batch{the_case.tensor("x_start"), {}};
  const Tensor& eps = the_case.tensor("noise");
  const double steps = static_cast<double>(path.size() - 1);
  const Decoder decoder = tanh_decoder(decoder_variance(path), kind.learned());
  if (kind.loss == "KL" || kind.loss == "RESCALED_KL") {
    const Variance variance = kind.learned()                   ? Variance::learned
                              : kind.variance == "FIXED_SMALL" ? Variance::small
                                                               : Variance::large;
    const Tensor nats = vlb_loss(network, meaning, batch, path, places, eps, variance, decoder);
    return {nats / (std::numbers::ln2 * (kind.loss == "KL" ? steps : 1)), {}, {}};
  }
  std::vector<Level> levels;
  for (const int64_t place : places) levels.push_back(path[static_cast<size_t>(place)]);
  // In bits, of one step or of T of which 1000 count as one.
  const double vlb_weight = 1 / (std::numbers::ln2 * (kind.loss == "MSE" ? steps : 1000));
  const Objective objective = plain_objective(vlb_weight);
  const Tensor mse = denoising_loss(network, meaning, objective, batch, levels, eps);
  if (!kind.learned()) return {mse, mse, {}};
  const Tensor loss = hybrid_loss(network, meaning, objective, batch, path, places, eps, decoder);
  return {loss, mse, loss - mse};
}

void run_improved_losses(const Case& the_case, Checker& checker) {
  const ImprovedProcess process(the_case.config);
  const Path path = process.path();
  std::vector<int64_t> places;  // of each example's level in the path
  const Tensor t = the_case.tensor("t").to(at::kLong);
  for (int64_t i = 0; i < t.size(0); ++i)
    places.push_back(static_cast<int64_t>(path.size()) - 2 - t[i].item<int64_t>());

  for (const Json& name : the_case.config.at("combinations")) {
    const std::string prefix = name.get<std::string>() + ".";
    const Combination kind(name);
    const Parameterisation meaning = improved_parameterisation(kind.mean, process.label(), path);
    const Tensor output = the_case.tensor(kind.output()).clone().requires_grad_();
    Recorded network;
    network.output = output;
    if (kind.variance == "LEARNED") {
      checker.compatibility("improved-diffusion: LEARNED networks give the log variance itself");
      network.output = log_variance_as_mix(output, path, places);
    }
    if (kind.learned() || kind.loss.ends_with("KL")) checker.compatibility(kTanhCdf);
    const Losses losses = losses_of(kind, network, meaning, the_case, path, places);
    losses.loss.mean().backward();

    const auto compare = [&](const std::string& what, const Tensor& got) {
      const Tensor& expected = the_case.tensor(prefix + what);
      Tensor extra = at::zeros({}, at::kDouble);
      if (the_case.has(prefix + "rounding_change")) {  // as the case's tolerance says
        Tensor rounding = the_case.tensor(prefix + "rounding_change");
        rounding = at::where(rounding > 1e-11, rounding, at::zeros_like(rounding));
        std::vector<int64_t> rows(static_cast<size_t>(expected.dim()), 1);
        rows[0] = rounding.size(0);
        extra = 100 * rounding.view(rows) * (1 + expected.abs());
      }
      checker.compare(prefix + what, got.detach(), expected, extra);
    };
    compare("loss", losses.loss);
    if (losses.mse.defined()) compare("mse", losses.mse);
    if (losses.vb.defined()) compare("vb", losses.vb);
    compare("grad", output.grad());
    checker.compare("x_t", network.x.detach());
    checker.compare("t_given_to_model", network.label);
  }
}

}  // namespace

Plan plan_improved_training_losses(const Json& row) {
  const Json config = row.value("config", Json::object());
  const Refusal refusal = first_refusal(
      {unknown_keys("config", config,
                    {"schedule", "T", "respacing", "rescale_timesteps", "combinations"}),
       other_value("schedule", config, {"linear", "cosine"})});
  if (!refusal.empty()) return {{}, refusal};
  return {run_improved_losses, ""};
}

}  // namespace tweedie::reference
