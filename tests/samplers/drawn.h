// Samples of the mixture by a sampler of the registry.
#pragma once

#include "tests/model/mixture.h"
#include "tweedie/registry.h"

namespace tweedie::testing {

inline const Registry& registry() {
  static const Registry all = builtin();
  return all;
}

inline Json without_clip(const SamplerEntry& entry) {
  return entry.clips ? Json{{"clip", false}} : Json::object();
}

inline Noise noise_of(std::vector<int64_t> samples) { return keyed_noise(7, std::move(samples)); }

inline Tensor drawn(const Sampler& sampler, const Path& path, std::vector<int64_t> samples) {
  const Tensor start = path.front().sigma * keyed_prior(5, samples, {2}).to(at::kDouble);
  return sampler(mixture_denoiser, start, path, {}, noise_of(samples), {});
}

}  // namespace tweedie::testing
