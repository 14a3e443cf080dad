// Group A: tables of chains, and improved-diffusion's respaced ones from levels alone.
#include <cmath>

#include "peer_tables.h"
#include "schedule_cases.h"
#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/posterior.h"

namespace tweedie::reference {
namespace {

std::vector<double> alpha_bars(const Schedule& chain) {
  std::vector<double> out;
  for (int64_t i = 1; i <= chain.steps; ++i) {
    const double alpha = step_level(chain, i).alpha;
    out.push_back(alpha * alpha);
  }
  return out;
}

/// A tensor of improved-diffusion's tables, from the levels that a chain visits, clean first.
std::vector<double> improved_table(const std::string& name, const std::vector<Level>& levels) {
  const size_t steps = levels.size() - 1;
  const auto each = [&](const auto& of_step) {
    std::vector<double> out;
    for (size_t i = 1; i <= steps; ++i) out.push_back(of_step(i));
    return out;
  };
  const auto square = [](double x) { return x * x; };
  const auto q = [&](size_t i) { return posterior(levels[i - 1], levels[i]); };
  if (name == "betas") return each([&](size_t i) { return q(i).var_large; });
  if (name == "alphas_cumprod") return each([&](size_t i) { return square(levels[i].alpha); });
  if (name == "alphas_cumprod_prev")
    return each([&](size_t i) { return square(levels[i - 1].alpha); });
  if (name == "alphas_cumprod_next")
    return each([&](size_t i) { return i < steps ? square(levels[i + 1].alpha) : 0; });
  if (name == "sqrt_alphas_cumprod") return each([&](size_t i) { return levels[i].alpha; });
  if (name == "sqrt_one_minus_alphas_cumprod")
    return each([&](size_t i) { return levels[i].sigma; });
  if (name == "log_one_minus_alphas_cumprod")
    return each([&](size_t i) { return 2 * std::log(levels[i].sigma); });
  if (name == "sqrt_recip_alphas_cumprod")
    return each([&](size_t i) { return 1 / levels[i].alpha; });
  if (name == "sqrt_recipm1_alphas_cumprod")
    return each([&](size_t i) { return noise_ratio(levels[i]); });
  if (name == "posterior_variance") return each([&](size_t i) { return q(i).var; });
  if (name == "posterior_log_variance_clipped") {
    check(steps >= 2, name, ": needs a chain of 2 steps or more");
    return each([&](size_t i) { return std::log(q(std::max<size_t>(i, 2)).var); });
  }
  if (name == "posterior_mean_coef1") return each([&](size_t i) { return q(i).c_x0; });
  check(name == "posterior_mean_coef2", "tensor '", name, "' is not understood");
  return each([&](size_t i) { return q(i).c_x; });
}

}  // namespace

void check_diffusers_betas(const Case& the_case, Checker& checker) {
  const Json& config = the_case.config;
  check_known_keys(config,
                   {"beta_schedule", "beta_start", "beta_end", "num_train_timesteps",
                    "rescale_betas_zero_snr", "trained_betas"},
                   "config");
  const int64_t steps = static_cast<int64_t>(number_of(config, "num_train_timesteps"));
  const std::vector<double> betas = diffusers_betas(config, steps);
  for (const auto& [name, expected] : the_case.tensors) {
    if (name.ends_with("_native_f32")) continue;  // the peer's own float32, no target
    if (name == "betas")
      checker.compare(name, to_tensor(betas));
    else if (name == "alphas_cumprod")
      checker.compare(name, to_tensor(alpha_bars(chain_from_betas("diffusers", betas))));
    else
      fail("tensor '", name, "' is not understood");
  }
}

void check_betas_for_alpha_bar(const Case& the_case, Checker& checker) {
  check_known_keys(the_case.config, {"max_beta"}, "config");
  const double max_beta = number_of(the_case.config, "max_beta");
  for (const auto& [name, expected] : the_case.tensors) {
    const std::vector<std::string> parts = name_parts(name);
    check(parts.size() == 2, "tensor '", name, "': expected <kind>.<T>");
    const int64_t steps = number_in(parts[1]);
    check(parts[0] == "cosine" || parts[0] == "exp" || parts[0] == "laplace", "tensor '", name,
          "': the curve '", parts[0], "' is not understood");
    if (parts[0] != "cosine")
      checker.compatibility("diffusers betas_for_alpha_bar: " + parts[0] + " curve");
    checker.compare(name,
                    to_tensor(parts[0] == "cosine" ? cosine_betas(steps, max_beta)
                              : parts[0] == "exp"  ? diffusers_exp_betas(steps, max_beta)
                                                   : diffusers_laplace_betas(steps, max_beta)));
  }
}

void check_improved_tables(const Case& the_case, Checker& checker) {
  check_known_keys(the_case.config, {"schedule", "T", "respacing"}, "config");
  const Schedule chain = improved_chain(the_case.config);
  // Respacing re-derives betas from the alpha_bar that it keeps; the posterior of any two levels
  // needs no betas.
  std::vector<double> kept;
  std::vector<Level> levels{clean};
  if (the_case.config.contains("respacing")) {
    checker.compatibility("improved-diffusion space_timesteps");
    for (const int64_t step :
         improved_space_timesteps(chain.steps, the_case.config["respacing"].get<std::string>())) {
      kept.push_back(static_cast<double>(step));
      levels.push_back(step_level(chain, step + 1));
    }
  } else {
    for (int64_t i = 1; i <= chain.steps; ++i) levels.push_back(step_level(chain, i));
  }
  for (const auto& [name, expected] : the_case.tensors) {
    const bool map = name == "timestep_map" && !kept.empty();
    checker.compare(name, to_tensor(map ? kept : improved_table(name, levels)));
  }
}

void check_space_timesteps(const Case& the_case, Checker& checker) {
  checker.compatibility("improved-diffusion space_timesteps");
  const Json table = the_case.config.value("table", Json());
  check(table.is_array(), "config.table: expected a list");
  for (const auto& [name, expected] : the_case.tensors) {
    check(name == "n", "tensor '", name, "' is not understood");
    checker.compare(name, at::scalar_tensor(static_cast<int64_t>(table.size()), at::kLong));
  }
  for (const Json& row : table) {
    check_known_keys(row, {"T", "section_counts", "raises", "count", "first", "last"}, "table");
    const int64_t length = static_cast<int64_t>(number_of(row, "T"));
    const std::string counts = row.at("section_counts").get<std::string>();
    const std::string call = "space_timesteps(" + std::to_string(length) + ", " + counts + ")";
    std::vector<int64_t> got;
    bool raised = false;
    try {
      got = improved_space_timesteps(length, counts);
    } catch (const Error&) {
      raised = true;
    }
    checker.expect(raised == row.contains("raises"), call + " raises as the peer does");
    if (raised || row.contains("raises")) continue;
    const auto first = row.at("first").get<std::vector<int64_t>>(),
               last = row.at("last").get<std::vector<int64_t>>();
    checker.expect(static_cast<int64_t>(got.size()) == row.at("count").get<int64_t>(),
                   call + " keeps as many steps");
    checker.expect(
        got.size() >= first.size() && std::equal(first.begin(), first.end(), got.begin()),
        call + " begins alike");
    checker.expect(
        got.size() >= last.size() && std::equal(last.rbegin(), last.rend(), got.rbegin()),
        call + " ends alike");
  }
}

}  // namespace tweedie::reference
