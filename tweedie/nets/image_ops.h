// What the blocks of image_blocks.h are made of.  An image tensor has sizes [B, H, W, C], C a
// multiple of 32, and is contiguous.  Its type says which of two it is:
//
//     bfloat16   laid out [B][H][W][C], worked on by the kernels of kernels/images.h
//     float32    laid out [B][C / 16][H][W][16] whatever its sizes say: convolutions by oneDNN
//                (float_conv.h), norms by kernels/images.h
//
// so that only what is here may index one.  Nothing here is seen by autograd, unless it says so.
#pragma once

#include <torch/types.h>

#include <memory>
#include <vector>

#include "tweedie/kernels/images.h"
#include "tweedie/nets/packed_weight.h"

namespace tweedie {

using torch::Tensor;

/// Plans are made once for each kind and size.
const kernels::ConvPlans& conv_plans(kernels::ConvKind kind, int64_t height, int64_t width);

inline bool is_float(const Tensor& image) { return image.scalar_type() == at::kFloat; }

/// A norm of a batch; see kernels::ImageNorm.  x2, time: may be undefined.
struct BatchNorm {
  Tensor x1, x2;
  Tensor weight, bias;  // float32 [C]
  Tensor time;          // float32 [B, C], added before it; or [B, 2 C], scale and shift after it
  int64_t groups;
  double epsilon;
  bool silu;
  double dropout = 0;
  std::vector<uint32_t> keys;  // of dropout, by example
};

class NormWork;

/// An image that is a norm of others, computed by the convolution that reads it first: as a part of
/// what packs it, where that is done.
struct NormedImage {
  Tensor y;
  std::shared_ptr<const NormWork> work;  // null: y is there
};
/// `coefficients` becomes float32 [B, 4, C], for the gradient.
NormedImage norm_forward(const BatchNorm& norm, Tensor& coefficients);

enum class ConvPass {
  training,  // forward, with weights that will have changed the next time
  sampling,  // forward, with weights that stay
  backward,  // the gradient of the input
};

/// One input of a convolution: as many channels of the weights' inputs as this image has, from
/// `first` on.  Backward, these are channels of the result.
struct ConvTerm {
  Tensor x;
  PackedWeight* packed;
  std::vector<Tensor> weights;
  int64_t first = 0;
  bool centre = false;
  std::shared_ptr<const NormWork> work = {};  // which computes x; of the first term only
};

/// Image [B, out_height, out_width, outputs]: the terms' convolutions, biases (float32 [outputs])
/// and residual.
Tensor convolve(kernels::ConvKind kind, ConvPass pass, int64_t height, int64_t width,
                int64_t outputs, const std::vector<ConvTerm>& terms,
                const std::vector<Tensor>& biases = {}, const Tensor& residual = {});

/// float32 [K, taps, C] for x = [x1 | x2] with C channels (x2 may be undefined) and dy.  `dbias`
/// [K] is overwritten if defined.  `home`, if defined: the result is added to it and it is
/// returned.
Tensor weight_gradient(kernels::ConvKind kind, const Tensor& x1, const Tensor& x2, const Tensor& dy,
                       const Tensor& dbias, const Tensor& home = {});

/// A gradient [K, taps, C] as that of `weight` [k, c, h, w] or [k, c], k <= K and copies c <= C.
Tensor as_gradient_of(const Tensor& weight, const Tensor& gradient, int64_t copies = 1);

struct BatchNormGradient {
  Tensor dx1, dx2, dweight, dbias, dtime;
};
/// Overwrites dy.  plus1, plus2: added to dx1, dx2 where defined.
BatchNormGradient norm_backward(const BatchNorm& norm, const Tensor& coefficients, const Tensor& dy,
                                const Tensor& plus1, const Tensor& plus2);

/// o [B, H, W, C] of qkv [B, H, W, 3 C]; log_sum float32 [B, heads, H W] is written if defined.
Tensor attend(const Tensor& qkv, int64_t heads, const Tensor& log_sum);
Tensor attend_backward(const Tensor& qkv, int64_t heads, const Tensor& o, const Tensor& log_sum,
                       const Tensor& dout);

/// float32 or other [B, C, H, W] to an image whose channels are C rounded to its type, what
/// rounding took away, then zeros.
Tensor image_of(const Tensor& x, at::ScalarType type);
/// The same without what rounding took away.
Tensor rounded_image_of(const Tensor& x, at::ScalarType type);
/// The first C channels of an image as float32 [B, C, H, W].
Tensor planes_of(const Tensor& image, int64_t channels);

/// Seen by autograd: to the nearest pixels, and the channels of both.
Tensor enlarged(const Tensor& image, int64_t height, int64_t width);
Tensor joined(const Tensor& x1, const Tensor& x2);

}  // namespace tweedie
