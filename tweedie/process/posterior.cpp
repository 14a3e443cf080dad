#include "tweedie/process/posterior.h"

namespace tweedie {

Posterior posterior(const Level& s, const Level& t) {
  const double alpha_ts = t.alpha / s.alpha;
  const double log_ratio =
      s.sigma == 0 ? -INFINITY : log_snr(t) - log_snr(s);  // log SNR_t / SNR_s, negative
  const double shrink = -std::expm1(log_ratio);
  const double var_ts = shrink * t.sigma * t.sigma;  // variance of q(x_t | x_s)
  return {alpha_ts * (s.sigma * s.sigma) / (t.sigma * t.sigma), s.alpha * shrink,
          s.sigma * s.sigma * shrink, var_ts};
}

}  // namespace tweedie
