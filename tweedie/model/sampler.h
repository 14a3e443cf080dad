// What every sampler is: one function of (denoiser, x, path).
#pragma once

#include <functional>

#include "tweedie/model/denoiser.h"
#include "tweedie/process/path.h"

namespace tweedie {

struct Step {
  int64_t index;  // 0 is the first step, from the noisiest level
  Level from, to;
  Tensor x, x0;   // the state after the step, and the prediction it was made from
};

/// Standard normal noise shaped as `like` for the step between two levels.
using Noise = std::function<Tensor(const Tensor& like, const Level& from, const Level& to)>;
using Observer = std::function<void(const Step&)>;
using Sampler = std::function<Tensor(const Denoiser&, Tensor x, const Path&, const Condition&, const Noise&,
                                     const Observer&)>;

}  // namespace tweedie
