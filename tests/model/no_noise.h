// The noise of samplers that must ask for none.
#pragma once

#include "tweedie/base/error.h"
#include "tweedie/model/sampler.h"

inline tweedie::Noise no_noise() {
  return [](const at::Tensor&, const tweedie::Level&, const tweedie::Level&) -> at::Tensor {
    throw tweedie::Error("noise was asked for");
  };
}
