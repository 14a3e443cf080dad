#include "improved_process.h"

#include <cmath>

#include "peer_tables.h"
#include "support.h"
#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/posterior.h"

namespace tweedie::reference {

namespace {

/// Without one every step is kept.
std::string respacing_of(const Json& config, const Schedule& chain) {
  const std::string given = text_or_empty(config, "respacing");
  return given.empty() ? std::to_string(chain.steps) : given;
}

}  // namespace

ImprovedProcess::ImprovedProcess(const Json& config)
    : chain(improved_chain(config)),
      kept(improved_space_timesteps(chain.steps, respacing_of(config, chain))),
      label_scale(config.value("rescale_timesteps", false) ? 1000 / static_cast<double>(chain.steps)
                                                           : 1) {}

Path ImprovedProcess::path() const {
  std::vector<int64_t> steps;  // of 1..T, falling
  for (auto t = kept.rbegin(); t != kept.rend(); ++t) steps.push_back(*t + 1);
  return path_through(chain, steps);
}

NoiseLabel ImprovedProcess::label() const {
  return [steps = static_cast<double>(chain.steps), scale = label_scale](const Level& level) {
    return (std::round(level.t * steps) - 1) * scale;
  };
}

Level ImprovedProcess::level_of_label(double label) const {
  return level_of_timestep(chain, std::llround(label / label_scale));
}

const Level& level_after(const Path& path, const Level& level) {
  for (size_t i = 0; i + 1 < path.size(); ++i)
    if (path[i].t == level.t) return path[i + 1];
  throw Error("the level is not of the path");
}

Parameterisation improved_parameterisation(const std::string& mean, const NoiseLabel& label,
                                           const Path& path) {
  if (mean == "EPSILON") return eps_prediction(label);
  if (mean == "START_X") return x0_prediction(label);
  check(mean == "PREVIOUS_X", "improved-diffusion: mean type '", mean, "' is unknown");
  return [=](const Level& level) {
    const Posterior q = posterior(level_after(path, level), level);
    return Scaling{-q.c_x / q.c_x0, 1 / q.c_x0, 1, label(level)};
  };
}

}  // namespace tweedie::reference
