// What a sampler makes of Gaussian data, exactly.
#pragma once

#include "tests/model/gaussian.h"
#include "tweedie/model/sampler.h"

namespace tweedie::testing {

struct Moments {
  double mean, var;
};

/// Mean and variance of what a sampler makes of N(mean, var) with a linear denoiser.  Its result is
/// a linear function of the start and of each draw of noise, at most two a step, so one example for
/// each gives the exact answer with no sampling.
inline Moments moments_of(const Sampler& sampler, const Denoiser& denoiser, const Path& path) {
  const int64_t steps = static_cast<int64_t>(path.size()) - 1;
  const Level& end = path.front();
  Tensor start = at::full({2 * steps + 2, 1}, end.alpha * kMean, f64());
  start[1] += std::sqrt(marginal_var(end));
  auto call = std::make_shared<int64_t>(0);
  const Noise one_each = [call](const Tensor& like, const Level&, const Level&) {
    Tensor noise = at::zeros_like(like);
    noise[2 + (*call)++] = 1;
    return noise;
  };
  const Tensor out = sampler(denoiser, start, path, {}, one_each, {});
  return {out[0].item<double>(), (out - out[0]).square().sum().item<double>()};
}

}  // namespace tweedie::testing
