#include "tweedie/nets/unet_time.h"

#include <numbers>

#include "tweedie/base/error.h"
#include "tweedie/nets/embedding.h"
#include "tweedie/nets/layers.h"
#include "tweedie/tensor/random.h"

namespace tweedie {

TimeEmbeddingImpl::TimeEmbeddingImpl(int64_t in, int64_t out) {
  linear_1 = register_module("linear_1", unset_linear(in, out));
  linear_2 = register_module("linear_2", unset_linear(out, out));
}

TimeFeaturesImpl::TimeFeaturesImpl(const UnetOptions& o) : options(o) {
  constexpr double kScale = 16;       // of the frequencies, in score SDE and EDM
  if (o.time_embedding == "fourier")  // Tancik et al. 2020 (arXiv:2006.10739)
    weight = register_parameter(
        "weight", keyed_normal({0, Stream::weights}, {0}, 0, {o.time_features / 2})[0] * kScale,
        false);
  if (o.time_embedding == "learned")
    weight = register_parameter("weight", at::zeros({o.time_steps, o.time_features}));
}

Tensor TimeFeaturesImpl::forward(const Tensor& label) {
  const UnetOptions& o = options;
  if (o.time_embedding == "positional")
    return positional_features(label, {o.time_features, o.flip_sin_to_cos, o.freq_shift});
  if (o.time_embedding == "learned") {
    const Tensor row = label.round().to(at::kLong);
    check(row.numel() == 0 ||
              (row.min().item<int64_t>() >= 0 && row.max().item<int64_t>() < o.time_steps),
          "unet: a learned time embedding of ", o.time_steps,
          " rows was told a step beyond them; use a chain of at most as many steps");
    return weight.index_select(0, row);
  }
  const Tensor angle = (o.time_logarithm ? label.log() : label).unsqueeze(1) *
                       weight.to(label.scalar_type()) * (2 * std::numbers::pi);
  return o.flip_sin_to_cos ? at::cat({angle.cos(), angle.sin()}, 1)
                           : at::cat({angle.sin(), angle.cos()}, 1);
}

}  // namespace tweedie
