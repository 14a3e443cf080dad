// Group A: EDM's discretisations and the tables of its wrappers for older networks.
#include "edm_grids.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "diffusers_grids.h"
#include "schedule_cases.h"
#include "tweedie/base/error.h"
#include "tweedie/process/path.h"

namespace tweedie::reference {
namespace {

// The defaults of generate.py and networks.py.
constexpr int64_t kLength = 1000;                        // M
constexpr double kMaxBeta = 1 - 0.001, kOffset = 0.008;  // 1 - C_1, C_2
constexpr double kBetaMin = 0.1, kBetaMax = 20;          // beta_d = 19.9
constexpr double kVpPreconditioner = 1e-5;               // epsilon_t

/// The cosine chain as EDM's iDDPM wrapper counts it: u_0 is the noisiest, u_M = 0.
std::vector<double> falling(const Schedule& chain) {
  std::vector<double> out(static_cast<size_t>(chain.steps) + 1);
  for (int64_t i = 0; i <= chain.steps; ++i)
    out[static_cast<size_t>(chain.steps - i)] = noise_ratio(step_level(chain, i));
  return out;
}

/// The same chain as ablation_sampler computes it by default: its alpha_bar is taken in single
/// precision (integers times a Python number), which moves the smallest levels by parts in a
/// thousand.  ATen's own sine, since another one rounds differently.
std::vector<double> single_precision_betas() {
  const auto alpha_bar = [](int64_t j) {
    const Tensor angle = at::scalar_tensor(j, at::kLong)
                             .mul(0.5 * std::numbers::pi)
                             .to(at::kFloat)
                             .div(static_cast<double>(kLength))
                             .div(kOffset + 1);
    return angle.sin().pow(2).item<float>();
  };
  std::vector<double> betas;
  for (int64_t i = 1; i <= kLength; ++i) {
    const float ratio = alpha_bar(kLength - i) / alpha_bar(kLength - i + 1);
    betas.push_back(1 - static_cast<double>(std::max(ratio, 0.001F)));
  }
  return betas;
}

std::vector<double> iddpm_ratios(const std::vector<double>& betas, int64_t steps) {
  std::vector<double> levels = falling(chain_from_betas("iddpm", betas));
  const EdmRange range = edm_range("iddpm");
  std::erase_if(levels, [&](double u) { return u < range.least || u > range.most; });
  const double stride = static_cast<double>(levels.size() - 1) / static_cast<double>(steps - 1);
  std::vector<double> out;
  for (int64_t k = 0; k < steps; ++k)
    out.push_back(levels[static_cast<size_t>(std::nearbyint(stride * static_cast<double>(k)))]);
  return out;
}

/// Rounded as the peer's ordinary run does; its samplers' cases were run in double precision.
std::vector<double> default_ratios(const std::string& discretisation, int64_t steps,
                                   Checker& checker) {
  if (discretisation != "iddpm") return edm_ratios(discretisation, steps);
  checker.compatibility("EDM ablation_sampler: iddpm levels from alpha_bar in single precision");
  return iddpm_ratios(single_precision_betas(), steps);
}

/// iDDPMPrecond: its table, and the nearest level to a noise.
void check_iddpm_wrapper(const std::string& what, const std::string& name, const Case& the_case,
                         Checker& checker) {
  const std::vector<double> table =
      falling(chain_from_betas("iddpm", cosine_betas(kLength, kMaxBeta)));
  if (what == "sigma") return;  // the input
  if (what == "u") return checker.compare(name, to_tensor(table));
  check(what == "round_sigma" || what == "index", "tensor '", name, "' is not understood");
  std::vector<double> out;
  for (const double sigma : to_doubles(the_case.tensor("iddpm_precond.sigma"))) {
    const auto nearest = std::min_element(table.begin(), table.end(), [&](double a, double b) {
      return std::abs(a - sigma) < std::abs(b - sigma);
    });
    out.push_back(what == "index" ? static_cast<double>(nearest - table.begin()) : *nearest);
  }
  checker.compare(name, to_tensor(out));
}

/// VPPrecond: sigma(t), t(sigma), and its range.
void check_vp_wrapper(const std::string& what, const std::string& name, const Case& the_case,
                      Checker& checker) {
  const Schedule vp = vp_linear(kBetaMin, kBetaMax, 0.5 * kVpPreconditioner);
  std::vector<double> out;
  if (what == "t") return;  // the input
  if (what == "sigma") {
    for (const double t : to_doubles(the_case.tensor("vp_precond.t")))
      out.push_back(noise_ratio(vp.at(t)));
  } else if (what == "sigma_inv") {
    for (const double sigma : to_doubles(the_case.tensor("vp_precond.sigma")))
      out.push_back(time_of_log_snr(vp, -2 * std::log(sigma)));
  } else {
    check(what == "sigma_min_max", "tensor '", name, "' is not understood");
    out = {noise_ratio(vp.at(kVpPreconditioner)), noise_ratio(vp.at(1))};
  }
  checker.compare(name, to_tensor(out));
}

}  // namespace

EdmRange edm_range(const std::string& discretisation) {
  if (discretisation == "edm" || discretisation == "edm_sampler") return {0.002, 80};
  if (discretisation == "ve") return {0.02, 100};
  if (discretisation == "iddpm") return {0.002, 81};
  check(discretisation == "vp", "the discretisation '", discretisation, "' is not understood");
  const Schedule vp = vp_linear(kBetaMin, kBetaMax, kEdmFirstTime);
  return {noise_ratio(vp.at(kEdmFirstTime)), noise_ratio(vp.at(1))};
}

std::vector<double> edm_ratios(const std::string& discretisation, int64_t steps) {
  const EdmRange range = edm_range(discretisation);
  if (discretisation == "iddpm") return iddpm_ratios(cosine_betas(kLength, kMaxBeta), steps);
  if (discretisation == "vp")
    return noise_ratios(bound_path(vp_linear(kBetaMin, kBetaMax, kEdmFirstTime), steps - 1));
  if (discretisation == "ve") return exponential_ratios(range.least, range.most, steps);
  return karras_ratios(range.least, range.most, steps);
}

void check_edm_discretisations(const Case& the_case, Checker& checker) {
  check_known_keys(the_case.config, {"num_steps", "others"}, "config");
  const std::string others = the_case.config.value("others", std::string("defaults"));
  check(others.starts_with("defaults"), "config.others: expected the defaults, got ", others);
  for (const auto& [name, expected] : the_case.tensors) {
    const std::vector<std::string> parts = name_parts(name);
    if (parts[0] == "iddpm_precond" && parts.size() == 2) {
      check_iddpm_wrapper(parts[1], name, the_case, checker);
      continue;
    }
    if (parts[0] == "vp_precond" && parts.size() == 2) {
      check_vp_wrapper(parts[1], name, the_case, checker);
      continue;
    }
    // "<discretisation>.<n>.sigmas", or the noise that the network saw under a schedule and a
    // scaling ("<schedule>-<scaling>"), which change neither.
    check(parts.size() >= 3 && (parts.back() == "sigmas" || parts.back() == "sigmas_seen_by_net"),
          "tensor '", name, "' is not understood");
    checker.compare(name, to_tensor(default_ratios(parts[0], number_in(parts[1]), checker)));
  }
}

}  // namespace tweedie::reference
