// What the samplers that choose their own steps share: where they go, and what they refuse.
#pragma once

#include "tweedie/model/sampler.h"

namespace tweedie {

/// From the path's first level to its last noisy one, and then to clean data if the path ends
/// there.
struct AdaptiveRange {
  Level begin, end;
  bool to_data;
};

/// Throws Error naming `sampler` where the path does not know its schedule, has too few noisy
/// levels, or begins without signal, so that its log-SNR is no number.
AdaptiveRange adaptive_range(const char* sampler, const Path& path);

/// Counts evaluations of one sample, which has come to `at`.  Throws Error beyond `most`.
void spend(const char* sampler, int64_t& evaluations, int64_t more, int64_t most, const Level& at);

/// The result of a state [B, ...] that has come to range.end: itself, or its prediction where the
/// path goes on to clean data, shown to `observe` as step `index`.
Tensor arrive(const char* sampler, const Denoiser& denoiser, const Tensor& state,
              const AdaptiveRange& range, const Condition& condition, int64_t index,
              const Observer& observe);

}  // namespace tweedie
