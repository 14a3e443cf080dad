// What every sampler is: one function of (denoiser, x, path).
#pragma once

#include <functional>

#include "tweedie/model/denoiser.h"
#include "tweedie/process/path.h"
#include "tweedie/tensor/random.h"

namespace tweedie {

struct Step {
  int64_t index;  // 0 is the first step, from the noisiest level
  Level from, to;
  Tensor x, x0;  // the state after the step, and the prediction it was made from
};

/// Standard normal noise shaped as `like` for the step between two levels.
using Noise = std::function<Tensor(const Tensor& like, const Level& from, const Level& to)>;
using Observer = std::function<void(const Step&)>;
using Sampler = std::function<Tensor(const Denoiser&, Tensor x, const Path&, const Condition&,
                                     const Noise&, const Observer&)>;

/// The start of each sample, float32 [samples.size(), shape...]: prior_std times its own normal
/// numbers.
Tensor keyed_prior(uint64_t seed, at::ArrayRef<int64_t> samples, at::IntArrayRef shape,
                   double prior_std = 1);
/// The n-th call gives step n of each sample's own stream: a sample's noise does not depend on the
/// batch it is drawn in. Copies share the count of calls.
Noise keyed_noise(uint64_t seed, std::vector<int64_t> samples, Stream stream = Stream::sampling);
/// The given draws, in order.  Throws Error when there are no more.
Noise recorded_noise(std::vector<Tensor> draws);

/// Throws Error that the state is not finite, naming the sampler, the step and its level,
[[noreturn]] void refuse_state(const char* sampler, int64_t step, const Level& level);
/// unless every element of x is finite.
void check_finite(const Tensor& x, const char* sampler, int64_t step, const Level& level);

}  // namespace tweedie
