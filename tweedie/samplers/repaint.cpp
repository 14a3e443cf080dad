#include "tweedie/samplers/repaint.h"

#include <cmath>
#include <map>

#include <ATen/ExpandUtils.h>

#include "tweedie/base/error.h"
#include "tweedie/process/posterior.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/walk.h"

namespace tweedie {
namespace {

/// x_t ~ q(x_t | x_s), t the noisier.
Tensor gone_up(const Tensor& x, const Level& s, const Level& t, const Noise& noise) {
  return (t.alpha / s.alpha) * x + std::sqrt(posterior(s, t).var_large) * noise(x, s, t);
}

/// What is known at level s, after a step from t.
Tensor known_at(const Tensor& known, const Level& t, const Level& s, const Tensor& like,
                const Noise& noise) {
  const Tensor mean = s.alpha * known;
  return s.sigma > 0 ? mean + s.sigma * noise(like, t, s) : mean;
}

void check_jumps(int64_t jump, int64_t samples) {
  check(jump >= 1 && samples >= 1, "repaint: expected jump and samples of 1 or more, got ", jump,
        " and ", samples);
}

void check_fits(const char* what, const Tensor& given, const Tensor& x) {
  check(at::is_expandable_to(given.sizes(), x.sizes()), "repaint: ", what, " of shape ",
        given.sizes(), " for samples of shape ", x.sizes());
}

}  // namespace

Path resampled_path(const Path& path, int64_t jump, int64_t samples) {
  check_jumps(jump, samples);
  const int64_t steps = static_cast<int64_t>(path.size()) - 1;
  std::map<int64_t, int64_t> jumps;  // still to be made with so many steps left
  for (int64_t left = 0; left + jump < steps; left += jump) jumps[left] = samples - 1;
  Path out;
  out.between = path.between;
  const auto visit = [&](int64_t left) { out.push_back(path[static_cast<size_t>(steps - left)]); };
  visit(steps);
  for (int64_t left = steps - 1; left >= 0; --left) {
    visit(left);
    if (const auto found = jumps.find(left); found != jumps.end() && found->second-- > 0)
      for (int64_t i = 0; i < jump; ++i) visit(++left);
  }
  return out;
}

Sampler repaint(RepaintOptions options) {
  check(options.known.defined() && options.mask.defined(),
        "repaint: needs the known data and a mask of what is known");
  check_jumps(options.jump, options.samples);
  return [options, down = ddim({.eta = options.eta, .clip = options.clip})](
             const Denoiser& denoiser, Tensor x, const Path& path, const Condition& condition,
             const Noise& noise, const Observer& observe) {
    check_fits("known data", options.known, x);
    check_fits("a mask", options.mask, x);
    const Tensor kept = options.mask.to(x.options()), data = options.known.to(x.options());
    Tensor x0;  // of the last step down
    const Observer keep = [&](const Step& done) { x0 = done.x0; };
    return walk("repaint", x, resampled_path(path, options.jump, options.samples), observe,
                [&](const Tensor& state, const Level& t, const Level& s, int64_t) {
                  if (log_snr(s) < log_snr(t)) return Stepped{gone_up(state, t, s, noise), x0};
                  const Tensor drawn = down(denoiser, state, {t, s}, condition, noise, keep),
                               known = known_at(data, t, s, state, noise);
                  return Stepped{kept * known + (1 - kept) * drawn, x0};
                });
  };
}

}  // namespace tweedie
