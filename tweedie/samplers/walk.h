// What every sampler that follows a path step by step shares.
#pragma once

#include <functional>

#include "tweedie/model/sampler.h"

namespace tweedie {

/// The state after a step, and the prediction it was made from.
struct Stepped {
  Tensor x, x0;
};

/// x after the step of this index from t to s.
using OneStep =
    std::function<Stepped(const Tensor& x, const Level& t, const Level& s, int64_t index)>;

/// Takes `step` along the path without gradients, and shows every state to `observe`.  Throws Error
/// naming `sampler`, step and level where a state is not finite.
Tensor walk(const char* sampler, Tensor x, const Path& path, const Observer& observe,
            const OneStep& step);

}  // namespace tweedie
