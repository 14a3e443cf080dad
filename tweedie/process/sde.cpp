#include "tweedie/process/sde.h"

#include "tweedie/base/error.h"

namespace tweedie {

ForwardSde forward_sde(const Level& level) {
  check(!std::isnan(level.d_alpha) && !std::isnan(level.d_sigma),
        "forward_sde: the level at t = ", level.t,
        " has no tangent; use a continuous schedule or interpolated(chain)");
  check(level.alpha > 0, "forward_sde: the level at t = ", level.t,
        " has no signal (alpha = 0), so its drift is infinite; stop at a smaller t");
  const double drift = level.d_alpha / level.alpha;
  return {drift, 2 * level.sigma * (level.d_sigma - drift * level.sigma)};
}

}  // namespace tweedie
