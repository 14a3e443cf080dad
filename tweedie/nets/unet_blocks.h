// The parts of the U-Net.  Modules and parameters are named as diffusers 0.30's UNet2DModel names
// them.
#pragma once

#include <string>
#include <vector>

#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "tweedie/model/network.h"
#include "tweedie/nets/image_blocks.h"

namespace tweedie {

struct BlockOptions {
  int64_t time_channels;
  int64_t groups;
  double epsilon;
  double dropout;
  bool scale_shift;       // the time embedding scales and shifts the second norm, else it is added
                          // before it
  int64_t head_channels;  // of attention; 0: one head
  int64_t downsample_padding;
};

/// What every block is told beside its input.
struct Pass {
  bool images;        // activations are images [B, H, W, C] (image_ops.h), else [B, C, H, W]
  Tensor time;        // [B, time_channels], already through SiLU
  uint64_t seed = 0;  // key of the dropout masks
  int64_t step = 0;
  int64_t first = 0;
  std::vector<Tensor> projected;  // what each resnet makes of the time, by number; or none
};

/// He et al. 2016 with time: x + conv(dropout(SiLU(norm(conv(SiLU(norm(x))) + time)))).
struct ResnetImpl : torch::nn::Module {
  ResnetImpl(int64_t in, int64_t out, const BlockOptions& options, int64_t number);
  /// Of [x | skip] where there is a skip.
  Tensor forward(const Tensor& x, const Tensor& skip, const Pass& pass);
  /// time [B, time channels] to `out`, [B, out channels] or twice as many for scale and shift.
  void project(const Tensor& time, Tensor& out) const {
    at::addmm_out(out, time_emb_proj_->bias, time, time_emb_proj_->weight.t());
  }

 private:
  Tensor forward_image(const Tensor& x, const Tensor& skip, const Tensor& time, const Pass& pass);
  Tensor forward_cuda(const Tensor& x, const Tensor& skip, const Tensor& time, const Pass& pass);

  BlockOptions options_;
  int64_t number_;  // of the layer in its network: keeps dropout masks apart
  ImageResnetPtr image_;
  torch::nn::GroupNorm norm1_{nullptr}, norm2_{nullptr};
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, conv_shortcut_{nullptr};
  torch::nn::Linear time_emb_proj_{nullptr};
};
TORCH_MODULE(Resnet);

/// Self-attention over the pixels, of their norm unless `bare`, with a residual.
struct PixelAttentionImpl : torch::nn::Module {
  PixelAttentionImpl(int64_t channels, const BlockOptions& options, bool bare = false);
  Tensor forward(const Tensor& x, const Pass& pass);

 private:
  int64_t heads_;
  BlockOptions options_;
  ImageAttentionPtr image_;
  torch::nn::GroupNorm group_norm_{nullptr};
  torch::nn::Linear to_q_{nullptr}, to_k_{nullptr}, to_v_{nullptr};
  torch::nn::ModuleList to_out_;
};
TORCH_MODULE(PixelAttention);

/// A convolution of stride 2; odd sizes are rounded up, with padding 0 down.
struct DownsampleImpl : torch::nn::Module {
  DownsampleImpl(int64_t channels, int64_t padding);
  Tensor forward(const Tensor& x, const Pass& pass);

 private:
  int64_t padding_;
  ImageConvPtr image_;
  torch::nn::Conv2d conv_{nullptr};
};
TORCH_MODULE(Downsample);

/// Nearest neighbours up to the given size, then a convolution.
struct UpsampleImpl : torch::nn::Module {
  explicit UpsampleImpl(int64_t channels);
  Tensor forward(const Tensor& x, int64_t height, int64_t width, const Pass& pass);

 private:
  ImageConvPtr doubled_, same_;
  torch::nn::Conv2d conv_{nullptr};
};
TORCH_MODULE(Upsample);

/// The weight and bias of a layer.
template <class Layer>
Affine affine_of(const Layer& layer) {
  return {layer->weight, layer->bias};
}

/// Resnets, each followed by attention where the stage has it, then down- or upsampling where it
/// has that.
struct StageImpl : torch::nn::Module {
  std::vector<Resnet> resnets;
  std::vector<PixelAttention> attentions;  // as many as resnets, or none (the middle has one fewer)
  Downsample down{nullptr};
  Upsample up{nullptr};

  void add_resnet(int64_t in, int64_t out, const BlockOptions& options, int64_t number);
  void add_attention(int64_t channels, const BlockOptions& options, bool bare = false);
  void add_down(int64_t channels, const BlockOptions& options);
  void add_up(int64_t channels);

 private:
  torch::nn::ModuleList list(const char* name);
};
TORCH_MODULE(Stage);

}  // namespace tweedie
