// Weights from a file without a copy.
#pragma once

#include <ATen/ATen.h>

namespace tweedie {

/// The parameter becomes `value`, whose memory it takes where type and device are the same.
inline void set_weight(at::Tensor parameter, const at::Tensor& value) {
  if (value.scalar_type() == parameter.scalar_type() && value.device() == parameter.device() &&
      value.sizes() == parameter.sizes() && value.is_contiguous())
    parameter.set_data(value);
  else
    parameter.copy_(value.reshape(parameter.sizes()));
}

}  // namespace tweedie
