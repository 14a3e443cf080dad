// What image_ops.h does with float32 images, [B][C / 16][H][W][16] behind sizes [B, H, W, C].
#pragma once

#include "tweedie/nets/image_ops.h"

namespace tweedie {

Tensor convolve_floats(kernels::ConvKind kind, ConvPass pass, int64_t height, int64_t width,
                       int64_t outputs, const std::vector<ConvTerm>& terms,
                       const std::vector<Tensor>& biases, const Tensor& residual);
Tensor weight_gradient_of_floats(kernels::ConvKind kind, const Tensor& x1, const Tensor& x2,
                                 const Tensor& dy, const Tensor& dbias, const Tensor& home);

Tensor attend_floats(const Tensor& qkv, int64_t heads, const Tensor& log_sum);
Tensor attend_backward_floats(const Tensor& qkv, int64_t heads, const Tensor& o,
                              const Tensor& log_sum, const Tensor& dout);

/// [B, H W, C] laid out so.
Tensor rows_of(const Tensor& image);
Tensor image_of_rows(const Tensor& rows, int64_t height, int64_t width);

/// Nearest neighbours.
Tensor enlarge_floats(const Tensor& image, int64_t height, int64_t width);

}  // namespace tweedie
