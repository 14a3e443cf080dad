// diffusers' schedules of the learning rate, its averages' decay, and its SNR.
#include <cmath>

#include "peer_losses.h"
#include "tweedie/base/error.h"
#include "tweedie/jobs/learning_rate.h"
#include "tweedie/process/schedule.h"

namespace tweedie::reference {
namespace {

Tensor snr_of_chain(const Json& config, int64_t steps) {
  check(config.at("beta_schedule") == "linear", "diffusers: compute_snr of '",
        config.at("beta_schedule").get<std::string>(), "' is unknown");
  const Schedule chain = chain_from_betas(
      "linear", linear_betas(steps, config.at("beta_start"), config.at("beta_end")));
  Tensor out = at::empty({steps}, at::kDouble);
  for (int64_t i = 0; i < steps; ++i)
    out[i] = std::exp(log_snr(chain.at(static_cast<double>(i + 1) / static_cast<double>(steps))));
  return out;
}

/// The peer counts the averages' steps from 0 where ours counts from 1.
Tensor decays(const Json& config, const Tensor& steps) {
  TrainConfig train;
  train.ema_after = config.value("update_after_step", int64_t{0});
  train.ema_power = config.value("use_ema_warmup", false) ? config.at("power").get<double>() : 0;
  check(config.value("inv_gamma", 1.0) == 1, "diffusers: inv_gamma ",
        config.value("inv_gamma", 1.0), " is unknown");
  Tensor out = at::empty(steps.sizes(), at::kDouble);
  for (int64_t i = 0; i < steps.numel(); ++i)
    out[i] = average_keep(train, config.at("decay"), steps[i].item<int64_t>() - 1);
  return out;
}

/// [warm-up, steps, cycles or power]; "constant_with_warmup" has no end.
Tensor rates(const std::string& name, const Json& numbers, double base, int64_t count,
             Checker& checker) {
  TrainConfig train;
  train.learning_rate = base;
  train.warmup = numbers.at(0);
  train.decay = name == "cosine_restarts"        ? "restarts"
                : name == "constant_with_warmup" ? "constant"
                                                 : name;
  const int64_t steps = numbers.size() > 1 ? numbers.at(1).get<int64_t>() : count;
  train.decay_from = static_cast<double>(train.warmup) / static_cast<double>(steps);
  if (name == "cosine_restarts") train.decay_cycles = numbers.at(2);
  if (name == "polynomial") {
    train.decay_power = numbers.at(2);
    train.decay_to = 1e-7 / base;  // their lr_end
  }
  Tensor out = at::empty({count}, at::kDouble);
  for (int64_t step = 0; step < count; ++step) {
    const bool mirrored = name == "cosine" && step > steps;
    if (mirrored) checker.compatibility("diffusers: the cosine rises again after the last step");
    const int64_t at = mirrored ? 2 * steps - step : step;
    out[step] = learning_rate(train, at, static_cast<double>(at) / static_cast<double>(steps));
  }
  return out;
}

void run_training(const Case& the_case, Checker& checker) {
  for (const auto& [key, expected] : the_case.tensors) {
    if (key == "ema.steps") continue;
    if (key == "compute_snr")
      checker.compare(key, snr_of_chain(the_case.config.at(key), expected.numel()));
    else if (key.starts_with("ema."))
      checker.compare(
          key, decays(the_case.config.at("ema").at(key.substr(4)), the_case.tensor("ema.steps")));
    else if (const Json& lr = the_case.config.at("lr"); key.starts_with("lr."))
      checker.compare(key, rates(key.substr(3), lr.at(key.substr(3)), lr.at("base"),
                                 expected.numel(), checker));
    else
      throw Error("diffusers: '" + key + "' is unknown");
  }
}

}  // namespace

Plan plan_diffusers_training(const Json& row) {
  const Refusal refusal =
      unknown_keys("config", row.value("config", Json::object()), {"compute_snr", "ema", "lr"});
  return refusal.empty() ? Plan{run_training, ""} : Plan{{}, refusal};
}

}  // namespace tweedie::reference
