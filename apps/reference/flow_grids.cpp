// Group A: the noise levels of flow matching as diffusers' FlowMatchEulerDiscreteScheduler shifts
// them.
#include <cmath>

#include "diffusers_grids.h"
#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/schedule.h"

namespace tweedie::reference {
namespace {

/// Esser et al. 2024 (arXiv:2403.03206), eq. 23.
double shifted(double sigma, double shift) { return shift * sigma / (1 + (shift - 1) * sigma); }

}  // namespace

std::vector<double> flow_sigmas(const Json& settings, int64_t length, int64_t steps,
                                Checker& checker) {
  const bool dynamic = settings.value("use_dynamic_shifting", false);
  const double shift = settings.value("shift", 1.0);
  // The training levels are shifted when the scheduler is made, and the sampling levels between
  // their ends once more.
  const Schedule process = flow();
  double most = process.at(1).sigma, least = process.at(1 / static_cast<double>(length)).sigma;
  if (!dynamic && shift != 1) {
    checker.compatibility("diffusers flow matching: the shift is applied twice");
    most = shifted(most, shift);
    least = shifted(least, shift);
  }
  std::vector<double> sigmas = numpy_linspace(most, least, steps);
  if (settings.value("use_karras_sigmas", false)) sigmas = karras_ratios(least, most, steps);
  if (settings.value("use_exponential_sigmas", false))
    sigmas = exponential_ratios(least, most, steps);
  if (settings.value("use_beta_sigmas", false)) sigmas = beta_ratios(least, most, steps);

  const std::string type = settings.value("time_shift_type", std::string("exponential"));
  check(type == "exponential" || type == "linear", "time_shift_type '", type,
        "' is not understood");
  for (double& sigma : sigmas) {
    if (dynamic) {
      const double mu = number_of(settings, "mu");
      sigma = shifted(sigma, type == "linear" ? mu : std::exp(mu));
    } else {
      sigma = shifted(sigma, shift);
    }
  }
  if (settings.contains("shift_terminal") && settings["shift_terminal"].is_number()) {
    const double stretch = (1 - sigmas.back()) / (1 - number_of(settings, "shift_terminal"));
    for (double& sigma : sigmas) sigma = 1 - (1 - sigma) / stretch;
  }
  return sigmas;
}

void check_flow_sigmas(const Case& the_case, Checker& checker) {
  for (const auto& [name, expected] : the_case.tensors) {
    const std::vector<std::string> parts = name_parts(name);
    check(parts.size() == 3, "tensor '", name, "': expected <label>.<n>.<what>");
    const Json settings = the_case.config.value(parts[0], Json());
    check(settings.is_object(), "config has no settings '", parts[0], "'");
    check_known_keys(
        settings,
        {"shift", "use_dynamic_shifting", "time_shift_type", "mu", "shift_terminal",
         "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "num_train_timesteps"},
        "config." + parts[0]);
    const int64_t length = settings.value(
        "num_train_timesteps", the_case.config.value("num_train_timesteps", int64_t{1000}));
    std::vector<double> sigmas = flow_sigmas(settings, length, number_in(parts[1]), checker);
    if (parts[2] == "timesteps") {
      for (double& sigma : sigmas) sigma *= static_cast<double>(length);
    } else {
      check(parts[2] == "sigmas", "tensor '", name, "' is not understood");
      sigmas.push_back(0);
    }
    checker.compare(name, to_tensor(sigmas));
  }
}

}  // namespace tweedie::reference
