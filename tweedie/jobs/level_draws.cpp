#include "tweedie/jobs/level_draws.h"

#include <algorithm>
#include <cmath>

#include "tweedie/base/error.h"

namespace tweedie {

LevelDraws draw_levels(const std::string& how, int64_t batch, RandomKey key, int64_t step) {
  check(how == "uniform" || how == "antithetic" || how == "stratified", "levels: cannot be drawn '",
        how, "'; expected uniform, antithetic or stratified");
  const double size = static_cast<double>(batch), offset = keyed_uniform(key, 0, step);
  LevelDraws draws;
  for (int64_t i = 0; i < batch; ++i) {
    const double place = static_cast<double>(i) / size, u = keyed_uniform(key, i, step);
    draws.u.push_back(how == "antithetic"   ? std::fmod(offset + place, 1.0)
                      : how == "stratified" ? place + u / size
                                            : u);
  }
  return draws;
}

LevelDraws draw_levels(const LossAwareSteps& sampler, int64_t batch, RandomKey key, int64_t step) {
  constexpr double kInside = 1e-6;  // so that rounding leaves u in its step's part
  LevelDraws draws;
  std::vector<double> uniforms;
  for (int64_t i = 0; i < batch; ++i) uniforms.push_back(keyed_uniform(key, i, step));
  for (const LossAwareSteps::Draw& draw : sampler.draw(uniforms)) {
    draws.steps.push_back(draw.step);
    draws.weights.push_back(draw.weight);
    draws.u.push_back(
        (static_cast<double>(draw.step - 1) + std::clamp(draw.within, kInside, 1 - kInside)) /
        static_cast<double>(sampler.size()));
  }
  return draws;
}

}  // namespace tweedie
