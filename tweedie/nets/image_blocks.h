// The blocks of a U-Net on images, bfloat16 or float32, each one node of autograd with its backward
// written by hand.  An image is [B, H, W, C], C a multiple of 32 (image_ops.h); parameters and
// their gradients are float32.  Every function is the composition of LibTorch's operations in
// unet_blocks.cpp, rounded to the image's type between layers, and that composition is the test of
// it.
#pragma once

#include <torch/types.h>

#include <optional>

#include "tweedie/nets/image_ops.h"

namespace tweedie {

/// Of what type images are faster than LibTorch's operations on x, if any: under autocast bfloat16
/// on a CPU with tiles, else float32 on one with AVX-512, for which oneDNN has Winograd's
/// algorithm.
std::optional<at::ScalarType> fast_images(const Tensor& x);

/// Weight and bias of a convolution or linear layer, and what is packed of the weight.
struct ImageConv : torch::CustomClassHolder {
  explicit ImageConv(kernels::ConvKind kind, int64_t copies = 1) : packed(kind, copies) {}
  PackedWeight packed;
};
using ImageConvPtr = c10::intrusive_ptr<ImageConv>;

struct Affine {
  Tensor weight, bias;
};

/// float32 [B, C, H, W] -> image.
Tensor planes_to_image_conv(const ImageConvPtr& conv, at::ScalarType type, const Tensor& x,
                            const Affine& weights);

/// Image -> image, of any kind.
Tensor image_conv(const ImageConvPtr& conv, const Tensor& x, const Affine& weights);

struct ImageResnet : torch::CustomClassHolder {
  PackedWeight conv1{kernels::ConvKind::same}, conv2{kernels::ConvKind::same},
      shortcut{kernels::ConvKind::pointwise};
  int64_t groups = 32;
  double epsilon = 1e-5;
};
using ImageResnetPtr = c10::intrusive_ptr<ImageResnet>;

struct ResnetParameters {
  Affine norm1, conv1, norm2, conv2, shortcut;  // shortcut: undefined where it is the identity
};

/// shortcut([x1 | x2]) + conv2(dropout(SiLU(norm2(conv1(SiLU(norm1([x1 | x2]))) with time)))); time
/// float32 [B, K] is added before norm2, [B, 2K] scales and shifts after it.  x2 may be undefined.
Tensor image_resnet(const ImageResnetPtr& resnet, const Tensor& x1, const Tensor& x2,
                    const Tensor& time, const ResnetParameters& parameters, double dropout,
                    const std::vector<uint32_t>& dropout_keys);

struct ImageAttention : torch::CustomClassHolder {
  PackedWeight qkv{kernels::ConvKind::pointwise}, out{kernels::ConvKind::pointwise};
  int64_t groups = 32, heads = 1;
  double epsilon = 1e-5;
};
using ImageAttentionPtr = c10::intrusive_ptr<ImageAttention>;

struct AttentionParameters {
  Affine norm, q, k, v, out;  // norm: undefined for none
};

/// x + out(attention(norm(x))).
Tensor image_attention(const ImageAttentionPtr& attention, const Tensor& x,
                       const AttentionParameters& parameters);

struct ImageHead : torch::CustomClassHolder {
  PackedWeight conv{kernels::ConvKind::same};
  int64_t groups = 32;
  double epsilon = 1e-5;
};
using ImageHeadPtr = c10::intrusive_ptr<ImageHead>;

/// Image -> conv(SiLU(norm(x))) as float32 [B, C, H, W].
Tensor image_head(const ImageHeadPtr& head, const Tensor& x, const Affine& norm,
                  const Affine& conv);
/// The same as an image, without gradients.
Tensor image_head_image(const ImageHeadPtr& head, const Tensor& x, const Affine& norm,
                        const Affine& conv);

}  // namespace tweedie
