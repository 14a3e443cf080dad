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

/// silu, mish, gelu or relu.
Tensor activated(const Tensor& x, const std::string& activation);

/// What a residual block does to the size, between its first norm and its first convolution.
enum class Resampling { none, halves, doubles };

struct ResnetOptions {
  int64_t in, out, time_channels;
  int64_t groups1, groups2;  // of the norms
  double epsilon;
  double dropout;
  bool scale_shift;    // the time embedding scales and shifts the second norm, else it is added
                       // before it
  double divisor = 1;  // of the sum with the shortcut
  std::string activation = "silu";
  Resampling resampling = Resampling::none;
  std::vector<double> filter = {1, 1};
  bool shortcut = false;  // a convolution in it, though in = out
  int64_t number = 0;     // of the block in its network: keeps dropout masks apart
};

struct AttentionOptions {
  int64_t channels, heads;
  int64_t groups;  // of its norm; 0: none
  double epsilon;
  double divisor = 1;
};

/// What every block is told beside its input.
struct Pass {
  bool images;        // activations are images [B, H, W, C] (image_ops.h), else [B, C, H, W]
  Tensor time;        // [B, time_channels], already activated
  uint64_t seed = 0;  // key of the dropout masks
  int64_t step = 0;
  int64_t first = 0;
  std::vector<Tensor> projected;  // what each resnet makes of the time, by number; or none
};

/// He et al. 2016 with time: (x + conv(dropout(SiLU(norm(conv(SiLU(norm(x))) + time))))) / divisor.
struct ResnetImpl : torch::nn::Module {
  explicit ResnetImpl(const ResnetOptions& options);
  /// Of [x | skip] where there is a skip.
  Tensor forward(const Tensor& x, const Tensor& skip, const Pass& pass);
  /// time [B, time channels] to `out`, [B, out channels] or twice as many for scale and shift.
  void project(const Tensor& time, Tensor& out) const {
    at::addmm_out(out, time_emb_proj_->bias, time, time_emb_proj_->weight.t());
  }

 private:
  Tensor forward_image(const Tensor& x, const Tensor& skip, const Tensor& time, const Pass& pass);
  Tensor forward_cuda(const Tensor& x, const Tensor& skip, const Tensor& time, const Pass& pass);

  ResnetOptions options_;
  ImageResnetPtr image_;
  torch::nn::GroupNorm norm1_{nullptr}, norm2_{nullptr};
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, conv_shortcut_{nullptr};
  torch::nn::Linear time_emb_proj_{nullptr};
};
TORCH_MODULE(Resnet);

/// Self-attention over the pixels, of their norm if there is one, with a residual.
struct PixelAttentionImpl : torch::nn::Module {
  explicit PixelAttentionImpl(const AttentionOptions& options);
  Tensor forward(const Tensor& x, const Pass& pass);

 private:
  AttentionOptions options_;
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

/// Resnets, attention after some of them, then what changes the size, if anything does: a
/// convolution or a resnet.  Beside them the image itself may come in (on the way down) or go out
/// (up) at every size.
struct StageImpl : torch::nn::Module {
  std::vector<Resnet> resnets;
  std::vector<PixelAttention> attentions;  // of each resnet, null where it has none
  Downsample down{nullptr};
  Upsample up{nullptr};
  Resnet resize{nullptr};
  torch::nn::Conv2d skip_conv{nullptr};
  torch::nn::GroupNorm skip_norm{nullptr};

  void add_resnet(const ResnetOptions& options);
  /// After the last resnet.
  void add_attention(const AttentionOptions& options);
  void add_down(int64_t channels, int64_t padding);
  void add_up(int64_t channels);
  void add_resize(const ResnetOptions& options, bool beside_an_image);
  /// Image channels to this stage's, 1 x 1.
  void add_image_in(int64_t image, int64_t channels);
  /// The same with 3 x 3, halving (NCSN++'s residual encoder).
  void add_residual_in(int64_t image, int64_t channels);
  /// This stage's channels to the image's: norm, SiLU, 3 x 3.
  void add_image_out(int64_t channels, int64_t image, int64_t groups, double epsilon);

 private:
  torch::nn::ModuleList list(const char* name);
};
TORCH_MODULE(Stage);

}  // namespace tweedie
