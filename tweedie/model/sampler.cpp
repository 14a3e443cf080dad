#include "tweedie/model/sampler.h"

#include "tweedie/base/error.h"
#include "tweedie/tensor/finite.h"

namespace tweedie {

Tensor keyed_prior(uint64_t seed, at::ArrayRef<int64_t> samples, at::IntArrayRef shape,
                   double prior_std) {
  return prior_std * keyed_normal({seed, Stream::prior}, samples, 0, shape);
}

Noise keyed_noise(uint64_t seed, std::vector<int64_t> samples, Stream stream) {
  auto step = std::make_shared<int64_t>(0);
  return [=, samples = std::move(samples)](const Tensor& like, const Level&, const Level&) {
    check(static_cast<int64_t>(samples.size()) == like.size(0), "keyed_noise: made for ",
          samples.size(), " samples, asked for ", like.size(0));
    return keyed_normal({seed, stream}, samples, (*step)++, like.sizes().slice(1))
        .to(like.options());
  };
}

Noise recorded_noise(std::vector<Tensor> draws) {
  auto next = std::make_shared<size_t>(0);
  return [=, draws = std::move(draws)](const Tensor& like, const Level&, const Level&) {
    check(*next < draws.size(), "recorded_noise: all ", draws.size(), " draws are used up");
    return draws[(*next)++].to(like.options());
  };
}

void refuse_state(const char* sampler, int64_t step, const Level& level) {
  fail(sampler, ": the state is not finite after step ", step + 1, " at t = ", level.t, " (alpha ",
       level.alpha, ", sigma ", level.sigma,
       "); the model's weights may have diverged: use an earlier checkpoint");
}

void check_finite(const Tensor& x, const char* sampler, int64_t step, const Level& level) {
  if (!all_finite(x)) refuse_state(sampler, step, level);
}

}  // namespace tweedie
