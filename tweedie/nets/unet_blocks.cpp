#include "tweedie/nets/unet_blocks.h"

#include <torch/version.h>

#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/nets/cuda_norm.h"
#include "tweedie/nets/norm.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

torch::nn::Conv2d conv3x3(int64_t in, int64_t out) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(1));
}

torch::nn::GroupNorm norm_of(int64_t channels, const BlockOptions& options) {
  check(options.groups >= 1 && channels % options.groups == 0, "model: ", channels,
        " channels cannot be divided into norm_num_groups = ", options.groups,
        "; choose a divisor of every stage's channels");
  return torch::nn::GroupNorm(
      torch::nn::GroupNormOptions(options.groups, channels).eps(options.epsilon));
}

Tensor apply_norm(const torch::nn::GroupNorm& norm, const Tensor& x, bool silu) {
  return group_norm(x, norm->options.num_groups(), norm->weight, norm->bias, norm->options.eps(),
                    silu);
}

/// softmax(q k^T / sqrt(width)) v; q, k, v [B, heads, N, width].
Tensor attend_by_operations(const Tensor& q, const Tensor& k, const Tensor& v) {
#if TORCH_VERSION_MAJOR >= 2
  if (q.is_cuda()) return at::scaled_dot_product_attention(q, k, v);
#endif
  const Tensor scores =
      at::matmul(q, k.transpose(2, 3)) * (1 / std::sqrt(static_cast<double>(q.size(3))));
  return at::matmul(scores.softmax(-1), v);
}

/// The mask's keys, by example.
std::vector<uint32_t> dropout_keys(int64_t examples, const Pass& pass, int64_t layer) {
  std::vector<uint32_t> keys;
  for (int64_t i = 0; i < examples; ++i)
    keys.push_back(kernels::dropout_key(pass.seed, layer, pass.first + i, pass.step));
  return keys;
}

/// Srivastava et al. 2014, with a mask that is a function of (seed, layer, example, step): the same
/// as that of the kernels, whose elements are counted channels last.
Tensor keyed_dropout(const Tensor& x, double rate, const Pass& pass, int64_t layer) {
  const int64_t size = x.numel() / x.size(0);
  const Tensor mask = at::empty({x.size(0), x.size(2), x.size(3), x.size(1)}, at::kFloat);
  const std::vector<uint32_t> keys = dropout_keys(x.size(0), pass, layer);
  for (int64_t i = 0; i < x.size(0); ++i)
    kernels::dropout_mask({keys[static_cast<size_t>(i)], static_cast<float>(rate)}, size,
                          mask.data_ptr<float>() + i * size);
  return x * mask.permute({0, 3, 1, 2}).to(x.options());
}

}  // namespace

ResnetImpl::ResnetImpl(int64_t in, int64_t out, const BlockOptions& options, int64_t number)
    : options_(options), number_(number) {
  norm1_ = register_module("norm1", norm_of(in, options));
  conv1_ = register_module("conv1", conv3x3(in, out));
  time_emb_proj_ = register_module(
      "time_emb_proj",
      torch::nn::Linear(options.time_channels, options.scale_shift ? 2 * out : out));
  norm2_ = register_module("norm2", norm_of(out, options));
  conv2_ = register_module("conv2", conv3x3(out, out));
  if (in != out)
    conv_shortcut_ =
        register_module("conv_shortcut", torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 1)));
  image_ = c10::make_intrusive<ImageResnet>();
  image_->groups = options.groups;
  image_->epsilon = options.epsilon;
}

Tensor ResnetImpl::forward_image(const Tensor& x, const Tensor& skip, const Tensor& time,
                                 const Pass& pass) {
  const bool drops = is_training() && options_.dropout > 0;
  const ResnetParameters parameters = {affine_of(norm1_), affine_of(conv1_), affine_of(norm2_),
                                       affine_of(conv2_),
                                       conv_shortcut_ ? affine_of(conv_shortcut_) : Affine{}};
  return image_resnet(image_, x, skip, time, parameters, drops ? options_.dropout : 0,
                      drops ? dropout_keys(x.size(0), pass, number_) : std::vector<uint32_t>());
}

Tensor ResnetImpl::forward_cuda(const Tensor& x, const Tensor& skip, const Tensor& time,
                                const Pass& pass) {
  const auto norm = [&](const torch::nn::GroupNorm& with, const Tensor& x1, const Tensor& x2) {
    return BatchNorm{x1, x2, with->weight, with->bias, {}, options_.groups, options_.epsilon, true};
  };
  BatchNorm second = norm(norm2_, conv1_(cuda_norm(norm(norm1_, x, skip))), {});
  second.time = time;
  if (is_training() && options_.dropout > 0) {
    second.dropout = options_.dropout;
    second.keys = dropout_keys(x.size(0), pass, number_);
  }
  const Tensor h = conv2_(cuda_norm(second));
  if (!conv_shortcut_) return (skip.defined() ? at::cat({x, skip}, 1) : x) + h;
  if (!skip.defined()) return conv_shortcut_(x) + h;
  const Tensor& weight = conv_shortcut_->weight;  // of [x | skip]
  const int64_t split = x.size(1);
  return at::conv2d(x, weight.narrow(1, 0, split), conv_shortcut_->bias) +
         at::conv2d(skip, weight.narrow(1, split, skip.size(1))) + h;
}

Tensor ResnetImpl::forward(const Tensor& first, const Tensor& skip, const Pass& pass) {
  const Tensor projected = pass.projected.empty() ? time_emb_proj_(pass.time)
                                                  : pass.projected[static_cast<size_t>(number_)];
  if (pass.images) return forward_image(first, skip, projected, pass);
  if (fits_cuda_norm(first, skip, norm1_->weight))
    return forward_cuda(first, skip, projected, pass);
  const Tensor x = skip.defined() ? at::cat({first, skip}, 1) : first;
  Tensor h = conv1_(apply_norm(norm1_, x, true));
  const Tensor time = projected.unsqueeze(2).unsqueeze(3);
  if (options_.scale_shift) {
    const std::vector<Tensor> parts = time.chunk(2, 1);
    h = at::silu(apply_norm(norm2_, h, false) * (1 + parts[0]) + parts[1]);
  } else {
    h = apply_norm(norm2_, h + time, true);
  }
  if (is_training() && options_.dropout > 0) h = keyed_dropout(h, options_.dropout, pass, number_);
  return (conv_shortcut_ ? conv_shortcut_(x) : x) + conv2_(h);
}

PixelAttentionImpl::PixelAttentionImpl(int64_t channels, const BlockOptions& options, bool bare)
    : options_(options) {
  check(options.head_channels == 0 ||
            (options.head_channels > 0 && channels % options.head_channels == 0),
        "model.attention_head_dim: ", channels, " channels cannot be divided into heads of ",
        options.head_channels, "; choose a divisor, or 0 for one head");
  heads_ = options.head_channels == 0 ? 1 : channels / options.head_channels;
  if (!bare) group_norm_ = register_module("group_norm", norm_of(channels, options));
  to_q_ = register_module("to_q", torch::nn::Linear(channels, channels));
  to_k_ = register_module("to_k", torch::nn::Linear(channels, channels));
  to_v_ = register_module("to_v", torch::nn::Linear(channels, channels));
  to_out_ = register_module("to_out", torch::nn::ModuleList(torch::nn::Linear(channels, channels)));
  image_ = c10::make_intrusive<ImageAttention>();
  image_->groups = options.groups;
  image_->epsilon = options.epsilon;
  image_->heads = heads_;
}

Tensor PixelAttentionImpl::forward(const Tensor& x, const Pass& pass) {
  if (pass.images) {
    const auto out = to_out_->ptr<torch::nn::LinearImpl>(0);
    return image_attention(image_, x,
                           {group_norm_ ? affine_of(group_norm_) : Affine{}, affine_of(to_q_),
                            affine_of(to_k_), affine_of(to_v_), affine_of(out)});
  }
  const int64_t batch = x.size(0), channels = x.size(1), width = channels / heads_;
  const Tensor pixels = (group_norm_ ? apply_norm(group_norm_, x, false) : x)
                            .flatten(2)
                            .transpose(1, 2);  // [B, N, C]
  const auto split = [&](const Tensor& y) {
    return y.view({batch, -1, heads_, width}).transpose(1, 2);
  };  // [B, heads, N, width]
  const Tensor q = split(to_q_(pixels)), k = split(to_k_(pixels)), v = split(to_v_(pixels));
  const Tensor mixed =
      attend_by_operations(q, k, v).transpose(1, 2).reshape({batch, -1, channels});  // [B, N, C]
  const Tensor out = to_out_->at<torch::nn::LinearImpl>(0).forward(mixed);
  return x + out.transpose(1, 2).reshape(x.sizes());
}

DownsampleImpl::DownsampleImpl(int64_t channels, int64_t padding) : padding_(padding) {
  check(padding == 0 || padding == 1, "model.downsample_padding: expected 0 or 1, got ", padding);
  conv_ = register_module(
      "conv", torch::nn::Conv2d(
                  torch::nn::Conv2dOptions(channels, channels, 3).stride(2).padding(padding)));
  image_ = c10::make_intrusive<ImageConv>(padding == 1 ? kernels::ConvKind::halved
                                                       : kernels::ConvKind::halved_after);
}

Tensor DownsampleImpl::forward(const Tensor& x, const Pass& pass) {
  if (pass.images) return image_conv(image_, x, affine_of(conv_));
  return conv_(padding_ == 0 ? at::constant_pad_nd(x, {0, 1, 0, 1})
                             : x);  // diffusers pads right and below
}

UpsampleImpl::UpsampleImpl(int64_t channels) {
  conv_ = register_module("conv", conv3x3(channels, channels));
  doubled_ = c10::make_intrusive<ImageConv>(kernels::ConvKind::doubled);
  same_ = c10::make_intrusive<ImageConv>(kernels::ConvKind::same);
}

Tensor UpsampleImpl::forward(const Tensor& x, int64_t height, int64_t width, const Pass& pass) {
  if (pass.images && height == 2 * x.size(1) && width == 2 * x.size(2))
    return image_conv(doubled_, x, affine_of(conv_));
  if (pass.images) return image_conv(same_, enlarged(x, height, width), affine_of(conv_));
  return conv_(at::upsample_nearest2d(x, {height, width}));
}

torch::nn::ModuleList StageImpl::list(const char* name) {
  for (const auto& child : named_children())
    if (child.key() == name)
      return torch::nn::ModuleList(
          std::dynamic_pointer_cast<torch::nn::ModuleListImpl>(child.value()));
  return register_module(name, torch::nn::ModuleList());
}

void StageImpl::add_resnet(int64_t in, int64_t out, const BlockOptions& options, int64_t number) {
  resnets.emplace_back(in, out, options, number);
  list("resnets")->push_back(resnets.back());
}

void StageImpl::add_attention(int64_t channels, const BlockOptions& options, bool bare) {
  attentions.emplace_back(channels, options, bare);
  list("attentions")->push_back(attentions.back());
}

void StageImpl::add_down(int64_t channels, const BlockOptions& options) {
  down = Downsample(channels, options.downsample_padding);
  list("downsamplers")->push_back(down);
}

void StageImpl::add_up(int64_t channels) {
  up = Upsample(channels);
  list("upsamplers")->push_back(up);
}

}  // namespace tweedie
