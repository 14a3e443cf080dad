#include "tweedie/nets/unet_blocks.h"

#include "tweedie/base/error.h"
#include "tweedie/nets/attention.h"
#include "tweedie/nets/cuda_norm.h"
#include "tweedie/nets/layers.h"
#include "tweedie/nets/norm.h"
#include "tweedie/nets/resample.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

torch::nn::Conv2d conv3x3(int64_t in, int64_t out) {
  return unset_conv(torch::nn::Conv2dOptions(in, out, 3).padding(1));
}

torch::nn::GroupNorm norm_of(int64_t channels, int64_t groups, double epsilon) {
  check(groups >= 1 && channels % groups == 0, "model: ", channels,
        " channels cannot be divided into norm_num_groups = ", groups,
        "; choose a divisor of every stage's channels");
  return torch::nn::GroupNorm(torch::nn::GroupNormOptions(groups, channels).eps(epsilon));
}

Tensor apply_norm(const torch::nn::GroupNorm& norm, const Tensor& x, bool silu) {
  return group_norm(x, norm->options.num_groups(), norm->weight, norm->bias, norm->options.eps(),
                    silu);
}

Tensor norm_then(const std::string& activation, const torch::nn::GroupNorm& norm, const Tensor& x) {
  if (activation == "silu") return apply_norm(norm, x, true);
  return activated(apply_norm(norm, x, false), activation);
}

Tensor resampled(const Tensor& x, const ResnetOptions& options) {
  return options.resampling == Resampling::halves    ? halved(x, options.filter)
         : options.resampling == Resampling::doubles ? doubled(x, options.filter)
                                                     : x;
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

Tensor activated(const Tensor& x, const std::string& activation) {
  if (activation == "mish")  // which LibTorch has no bf16 of on a CPU
    return at::mish(x.scalar_type() == at::kBFloat16 ? x.to(at::kFloat) : x).to(x.scalar_type());
  if (activation == "gelu") return at::gelu(x);
  if (activation == "relu") return at::relu(x);
  return at::silu(x);
}

ResnetImpl::ResnetImpl(const ResnetOptions& o) : options_(o) {
  norm1_ = register_module("norm1", norm_of(o.in, o.groups1, o.epsilon));
  conv1_ = register_module("conv1", conv3x3(o.in, o.out));
  time_emb_proj_ = register_module(
      "time_emb_proj", unset_linear(o.time_channels, o.scale_shift ? 2 * o.out : o.out));
  norm2_ = register_module("norm2", norm_of(o.out, o.groups2, o.epsilon));
  conv2_ = register_module("conv2", conv3x3(o.out, o.out));
  if (o.in != o.out || o.shortcut)
    conv_shortcut_ =
        register_module("conv_shortcut", unset_conv(torch::nn::Conv2dOptions(o.in, o.out, 1)));
  image_ = c10::make_intrusive<ImageResnet>();
  image_->groups = o.groups1;
  image_->epsilon = o.epsilon;
}

Tensor ResnetImpl::forward_image(const Tensor& x, const Tensor& skip, const Tensor& time,
                                 const Pass& pass) {
  const bool drops = is_training() && options_.dropout > 0;
  const ResnetParameters parameters = {affine_of(norm1_), affine_of(conv1_), affine_of(norm2_),
                                       affine_of(conv2_),
                                       conv_shortcut_ ? affine_of(conv_shortcut_) : Affine{}};
  return image_resnet(
      image_, x, skip, time, parameters, drops ? options_.dropout : 0,
      drops ? dropout_keys(x.size(0), pass, options_.number) : std::vector<uint32_t>());
}

Tensor ResnetImpl::forward_cuda(const Tensor& x, const Tensor& skip, const Tensor& time,
                                const Pass& pass) {
  const auto norm = [&](const torch::nn::GroupNorm& with, const Tensor& x1, const Tensor& x2) {
    return BatchNorm{
        x1, x2, with->weight, with->bias, {}, with->options.num_groups(), options_.epsilon, true};
  };
  BatchNorm second = norm(norm2_, conv1_(cuda_norm(norm(norm1_, x, skip))), {});
  second.time = time;
  if (is_training() && options_.dropout > 0) {
    second.dropout = options_.dropout;
    second.keys = dropout_keys(x.size(0), pass, options_.number);
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
  const bool plain = options_.activation == "silu" && options_.divisor == 1 &&
                     options_.resampling == Resampling::none;
  const Tensor projected = pass.projected.empty()
                               ? time_emb_proj_(pass.time)
                               : pass.projected[static_cast<size_t>(options_.number)];
  if (pass.images) return forward_image(first, skip, projected, pass);
  if (plain && fits_cuda_norm(first, skip, norm1_->weight))
    return forward_cuda(first, skip, projected, pass);
  Tensor x = skip.defined() ? at::cat({first, skip}, 1) : first;
  Tensor h = conv1_(resampled(norm_then(options_.activation, norm1_, x), options_));
  x = resampled(x, options_);
  const Tensor time = projected.unsqueeze(2).unsqueeze(3);
  if (options_.scale_shift) {
    const std::vector<Tensor> parts = time.chunk(2, 1);
    h = activated(apply_norm(norm2_, h, false) * (1 + parts[0]) + parts[1], options_.activation);
  } else {
    h = norm_then(options_.activation, norm2_, h + time);
  }
  if (is_training() && options_.dropout > 0)
    h = keyed_dropout(h, options_.dropout, pass, options_.number);
  const Tensor sum = (conv_shortcut_ ? conv_shortcut_(x) : x) + conv2_(h);
  return options_.divisor == 1 ? sum : sum / options_.divisor;
}

PixelAttentionImpl::PixelAttentionImpl(const AttentionOptions& o) : options_(o) {
  if (o.groups > 0)
    group_norm_ = register_module("group_norm", norm_of(o.channels, o.groups, o.epsilon));
  const auto linear = [&] { return unset_linear(o.channels, o.channels); };
  to_q_ = register_module("to_q", linear());
  to_k_ = register_module("to_k", linear());
  to_v_ = register_module("to_v", linear());
  to_out_ = register_module("to_out", torch::nn::ModuleList(linear()));
  image_ = c10::make_intrusive<ImageAttention>();
  image_->groups = o.groups;
  image_->epsilon = o.epsilon;
  image_->heads = o.heads;
}

Tensor PixelAttentionImpl::forward(const Tensor& x, const Pass& pass) {
  if (pass.images) {
    const auto out = to_out_->ptr<torch::nn::LinearImpl>(0);
    return image_attention(image_, x,
                           {group_norm_ ? affine_of(group_norm_) : Affine{}, affine_of(to_q_),
                            affine_of(to_k_), affine_of(to_v_), affine_of(out)});
  }
  const int64_t batch = x.size(0), channels = x.size(1), heads = options_.heads,
                width = channels / heads;
  const Tensor pixels = (group_norm_ ? apply_norm(group_norm_, x, false) : x)
                            .flatten(2)
                            .transpose(1, 2);  // [B, N, C]
  const auto split = [&](const Tensor& y) {
    return y.view({batch, -1, heads, width}).transpose(1, 2);
  };  // [B, heads, N, width]
  const Tensor q = split(to_q_(pixels)), k = split(to_k_(pixels)), v = split(to_v_(pixels));
  const Tensor mixed =
      attend_by_operations(q, k, v).transpose(1, 2).reshape({batch, -1, channels});  // [B, N, C]
  const Tensor out = to_out_->at<torch::nn::LinearImpl>(0).forward(mixed);
  const Tensor sum = x + out.transpose(1, 2).reshape(x.sizes());
  return options_.divisor == 1 ? sum : sum / options_.divisor;
}

DownsampleImpl::DownsampleImpl(int64_t channels, int64_t padding) : padding_(padding) {
  check(padding == 0 || padding == 1, "model.downsample_padding: expected 0 or 1, got ", padding);
  conv_ = register_module(
      "conv",
      unset_conv(torch::nn::Conv2dOptions(channels, channels, 3).stride(2).padding(padding)));
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

void StageImpl::add_resnet(const ResnetOptions& options) {
  resnets.emplace_back(options);
  attentions.emplace_back(nullptr);
  list("resnets")->push_back(resnets.back());
}

void StageImpl::add_attention(const AttentionOptions& options) {
  attentions.back() = PixelAttention(options);
  list("attentions")->push_back(attentions.back());
}

void StageImpl::add_down(int64_t channels, int64_t padding) {
  down = Downsample(channels, padding);
  list("downsamplers")->push_back(down);
}

void StageImpl::add_up(int64_t channels) {
  up = Upsample(channels);
  list("upsamplers")->push_back(up);
}

void StageImpl::add_resize(const ResnetOptions& options, bool beside_an_image) {
  resize = Resnet(options);
  const bool halves = options.resampling == Resampling::halves;
  if (beside_an_image)
    register_module(halves ? "resnet_down" : "resnet_up", resize);
  else
    list(halves ? "downsamplers" : "upsamplers")->push_back(resize);
}

void StageImpl::add_image_in(int64_t image, int64_t channels) {
  skip_conv =
      register_module("skip_conv", unset_conv(torch::nn::Conv2dOptions(image, channels, 1)));
}

void StageImpl::add_residual_in(int64_t image, int64_t channels) {
  skip_conv = register_module("skip_conv", conv3x3(image, channels));
}

void StageImpl::add_image_out(int64_t channels, int64_t image, int64_t groups, double epsilon) {
  skip_norm = register_module("skip_norm", norm_of(channels, groups, epsilon));
  skip_conv = register_module("skip_conv", conv3x3(channels, image));
}

}  // namespace tweedie
