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

#include <mutex>
#include <vector>

#include "tweedie/kernels/images.h"
#include "tweedie/nets/float_conv.h"

namespace tweedie {

using torch::Tensor;

/// Plans are made once for each kind and size.
const kernels::ConvPlans& conv_plans(kernels::ConvKind kind, int64_t height, int64_t width);

/// n, or the next multiple of 32.
int64_t filled_channels(int64_t n);

inline bool is_float(const Tensor& image) { return image.scalar_type() == at::kFloat; }

/// Where tensors are in memory and how often they were changed: the same values as long as it is
/// the same.
using WeightVersions = std::vector<std::pair<const void*, uint32_t>>;
WeightVersions weight_versions(const std::vector<Tensor>& weights);

/// Weights of a convolution as the kernels read them, packed again when they have changed: when
/// they are elsewhere in memory or their version counter moved.
class PackedWeight {
 public:
  /// `weights` [K, C, h, w] or [K, C] each, one above the other along K; filled up with zeros to
  /// multiples of 32.  `copies`: how often the inputs are repeated.
  explicit PackedWeight(kernels::ConvKind kind, int64_t copies = 1)
      : kind_(kind), copies_(copies) {}

  Tensor forward(const std::vector<Tensor>& weights) { return packed(weights, forward_, false); }
  Tensor backward(const std::vector<Tensor>& weights) { return packed(weights, backward_, true); }
  /// As oneDNN reads the inputs from `first` on.
  Tensor blocked(const std::vector<Tensor>& weights, const FloatConv& conv, int64_t first);
  kernels::ConvKind kind() const { return kind_; }
  int64_t copies() const { return copies_; }

 private:
  struct Entry {
    WeightVersions of;
    int64_t layout = 0;  // of floats
    Tensor values;
    /// Room for `size` values.  A thread may still be reading the old ones, unless nobody else
    /// holds them.
    void renew(int64_t size, at::ScalarType type);
  };
  Tensor packed(const std::vector<Tensor>& weights, Entry& entry, bool backward);

  kernels::ConvKind kind_;
  int64_t copies_;
  std::mutex mutex_;
  Entry forward_, backward_, floats_[2][2];  // of floats: forward and backward, two inputs
};

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

/// [K, C, h, w] or [K, C] as [K, taps, C]; a view where it is kept channels last.
Tensor by_taps(const Tensor& weight);
/// A gradient [K, taps, C] as that of `weight` [k, c, h, w] or [k, c], k <= K and copies c <= C.
Tensor as_gradient_of(const Tensor& weight, const Tensor& gradient, int64_t copies = 1);

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

/// `coefficients` becomes float32 [B, 4, C], for the gradient.
Tensor norm_forward(const BatchNorm& norm, Tensor& coefficients);

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
