#include "peer_chains.h"

#include <cmath>
#include <set>
#include <sstream>

#include "tweedie/base/error.h"

namespace tweedie::reference {
namespace {

std::vector<double> diffusers_betas(const Json& scheduler) {
  const Json trained = scheduler.value("trained_betas", Json());
  if (trained.is_array()) return trained.get<std::vector<double>>();
  const std::string name = scheduler.at("beta_schedule");
  const int64_t steps = scheduler.at("num_train_timesteps");
  const double start = scheduler.at("beta_start"), end = scheduler.at("beta_end");
  if (name == "linear") return linear_betas(steps, start, end);
  if (name == "scaled_linear") return scaled_linear_betas(steps, start, end);
  if (name == "squaredcos_cap_v2") return cosine_betas(steps);
  if (name == "sigmoid") return sigmoid_betas(steps, start, end);
  throw Error("diffusers: beta_schedule '" + name + "' is unknown");
}

/// Halves to the even neighbour, as numpy rounds.
int64_t round_to_even(double x) { return static_cast<int64_t>(std::nearbyint(x)); }

}  // namespace

bool known_diffusers_schedule(const std::string& name) {
  return name == "linear" || name == "scaled_linear" || name == "squaredcos_cap_v2" ||
         name == "sigmoid";
}

Schedule diffusers_chain(const Json& scheduler) {
  std::vector<double> betas = diffusers_betas(scheduler);
  if (scheduler.value("rescale_betas_zero_snr", false)) betas = zero_terminal_snr(betas);
  return chain_from_betas("diffusers", betas);
}

std::vector<int64_t> diffusers_timesteps(const Json& scheduler, int64_t steps) {
  const int64_t length = scheduler.at("num_train_timesteps");
  const std::string spacing = scheduler.at("timestep_spacing");
  check(steps >= 1 && steps <= length, "diffusers: ", steps, " steps of a chain of ", length);
  const double n = static_cast<double>(steps), whole = static_cast<double>(length);
  std::vector<int64_t> out;
  if (spacing == "leading") {
    for (int64_t k = steps - 1; k >= 0; --k)
      out.push_back(k * (length / steps) + scheduler.at("steps_offset").get<int64_t>());
  } else if (spacing == "linspace") {
    const double apart = steps == 1 ? 0 : (whole - 1) / (n - 1);
    for (int64_t k = steps - 1; k >= 0; --k)
      out.push_back(k > 0 && k == steps - 1 ? length - 1
                                            : round_to_even(static_cast<double>(k) * apart));
  } else if (spacing == "trailing") {
    // numpy.arange(T, 0, -T / n) in floating point, which for some n has n + 1 entries.
    const double stride = -whole / n, apart = (whole + stride) - whole;
    const int64_t count = static_cast<int64_t>(std::ceil(-whole / stride));
    for (int64_t k = 0; k < count; ++k)
      out.push_back(round_to_even(whole + static_cast<double>(k) * apart) - 1);
  } else {
    throw Error("diffusers: timestep_spacing '" + spacing + "' is unknown");
  }
  return out;
}

Schedule improved_chain(const std::string& name, int64_t steps) {
  const double scale = 1000 / static_cast<double>(steps);
  if (name == "linear")
    return chain_from_betas(name, linear_betas(steps, scale * 1e-4, scale * 0.02));
  check(name == "cosine", "improved-diffusion: schedule '", name, "' is unknown");
  return chain_from_betas(name, cosine_betas(steps));
}

std::vector<int64_t> space_timesteps(int64_t steps, const std::string& respacing) {
  std::set<int64_t> kept;
  if (respacing.starts_with("ddim")) {
    const int64_t count = std::stoll(respacing.substr(4));
    int64_t stride = 1;
    while (stride < steps && (steps + stride - 1) / stride != count) ++stride;
    check(stride < steps, "improved-diffusion: no integer stride leaves ", count, " of ", steps);
    for (int64_t t = 0; t < steps; t += stride) kept.insert(t);
    return {kept.begin(), kept.end()};
  }
  std::vector<int64_t> counts;
  std::istringstream list(respacing.empty() ? std::to_string(steps) : respacing);
  for (std::string item; std::getline(list, item, ',');) counts.push_back(std::stoll(item));
  const int64_t sections = static_cast<int64_t>(counts.size());
  int64_t start = 0;
  for (int64_t i = 0; i < sections; ++i) {
    const int64_t size = steps / sections + (i < steps % sections ? 1 : 0);
    const int64_t count = counts[static_cast<size_t>(i)];
    check(size >= count, "improved-diffusion: cannot take ", count, " of ", size, " steps");
    const double stride =
        count <= 1 ? 1 : static_cast<double>(size - 1) / static_cast<double>(count - 1);
    double place = 0;  // summed up, as the peer does: the rounding depends on it
    for (int64_t k = 0; k < count; ++k, place += stride) kept.insert(start + round_to_even(place));
    start += size;
  }
  return {kept.begin(), kept.end()};
}

Level level_of_timestep(const Schedule& chain, int64_t t) {
  const double steps = static_cast<double>(chain.steps);
  Level level = chain.at(static_cast<double>(t < 0 ? chain.steps + t + 1 : t + 1) / steps);
  level.t = static_cast<double>(t + 1) / steps;
  return level;
}

}  // namespace tweedie::reference
