#include "tweedie/nets/cuda_norm.h"

#include <torch/csrc/autograd/custom_function.h>

#include "tweedie/tensor/cuda.h"

namespace tweedie {
namespace {

using kernels::bf16;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A Function takes no undefined tensors: an empty one stands for none.
Tensor none_like(const Tensor& x, const Tensor& like) {
  return x.defined() ? x : at::empty({0}, like.options());
}
Tensor unless_none(const Tensor& x) { return x.numel() > 0 ? x : Tensor(); }

bf16* image_data(const Tensor& x) {
  return x.defined() ? reinterpret_cast<bf16*>(x.data_ptr<at::BFloat16>()) : nullptr;
}

/// n's x1, x2 are images [B, H, W, C]; keys int32 [B] on the GPU, or empty.
kernels::cuda::BatchNorm batch_of(const BatchNorm& n, const Tensor& keys) {
  kernels::cuda::BatchNorm batch{};
  kernels::ImageNorm& norm = batch.first;
  norm.x[0] = image_data(n.x1);
  norm.x[1] = image_data(n.x2);
  norm.channels[0] = n.x1.size(3);
  norm.channels[1] = n.x2.defined() ? n.x2.size(3) : 0;
  norm.pixels = n.x1.size(1) * n.x1.size(2);
  norm.groups = n.groups;
  norm.epsilon = static_cast<float>(n.epsilon);
  norm.weight = n.weight.data_ptr<float>();
  norm.bias = n.bias.data_ptr<float>();
  norm.silu = n.silu;
  batch.batch = n.x1.size(0);
  if (n.time.defined()) {
    const float* const time = n.time.data_ptr<float>();
    const int64_t channels = n.weight.size(0);
    batch.time_stride = n.time.size(1);
    if (batch.time_stride == channels) {
      norm.add = time;
    } else {
      norm.scale = time;
      norm.shift = time + channels;
    }
  }
  if (n.dropout > 0) {
    norm.dropout.rate = static_cast<float>(n.dropout);
    batch.dropout_keys = reinterpret_cast<const uint32_t*>(keys.data_ptr<int32_t>());
  }
  return batch;
}

Tensor keys_on(at::Device device, const std::vector<uint32_t>& keys) {
  if (keys.empty()) return at::empty({0}, at::TensorOptions(at::kInt).device(device));
  const Tensor out = at::empty({static_cast<int64_t>(keys.size())}, at::kInt);
  std::copy(keys.begin(), keys.end(), reinterpret_cast<uint32_t*>(out.data_ptr<int32_t>()));
  return out.to(device);
}

struct Gradients {
  Tensor dx1, dx2, time, dweight, dbias;
};

Gradients gradients_of(const BatchNorm& n, const Tensor& keys, const Tensor& coefficients,
                       const Tensor& dy) {
  const int64_t batch = n.x1.size(0), channels = n.weight.size(0);
  const Gradients g{at::empty_like(n.x1), n.x2.defined() ? at::empty_like(n.x2) : Tensor(),
                    n.time.defined() ? at::empty_like(n.time) : Tensor(),
                    at::empty({batch, channels}, n.weight.options()),
                    at::empty({batch, channels}, n.weight.options())};
  kernels::NormGradients out{};
  out.dx[0] = image_data(g.dx1);
  out.dx[1] = image_data(g.dx2);
  out.dweight = g.dweight.data_ptr<float>();
  out.dbias = g.dbias.data_ptr<float>();
  if (n.time.defined()) {
    float* const dtime = g.time.data_ptr<float>();
    if (n.time.size(1) == channels) {
      out.dadd = dtime;
    } else {
      out.dscale = dtime;
      out.dshift = dtime + channels;
    }
  }
  cuda_kernels()->norm_backward(batch_of(n, keys), coefficients.data_ptr<float>(), image_data(dy),
                                out, cuda_stream(dy.device()));
  return {g.dx1, g.dx2, g.time, g.dweight.sum(0), g.dbias.sum(0)};
}

struct CudaNorm : torch::autograd::Function<CudaNorm> {
  /// `settings`: what is no tensor of it.
  static Tensor forward(AutogradContext* context, const Tensor& x1, const Tensor& x2,
                        const Tensor& time, const Tensor& weight, const Tensor& bias,
                        const BatchNorm& settings) {
    BatchNorm n = settings;
    n.x1 = x1;
    n.x2 = unless_none(x2);
    n.time = unless_none(time);
    n.weight = weight;
    n.bias = bias;
    const int64_t batch = x1.size(0), channels = weight.size(0);
    const Tensor keys = keys_on(x1.device(), n.keys),
                 coefficients = at::empty({batch, 4, channels}, weight.options()),
                 y = at::empty({batch, x1.size(1), x1.size(2), channels}, x1.options());
    const kernels::cuda::BatchNorm norm = batch_of(n, keys);
    const auto stream = cuda_stream(x1.device());
    cuda_kernels()->norm_statistics(norm, coefficients.data_ptr<float>(), stream);
    cuda_kernels()->norm_apply(norm, coefficients.data_ptr<float>(), image_data(y), stream);
    context->save_for_backward({x1, x2, time, weight, bias, keys, coefficients});
    context->saved_data["groups"] = n.groups;
    context->saved_data["epsilon"] = n.epsilon;
    context->saved_data["silu"] = n.silu;
    context->saved_data["dropout"] = n.dropout;
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list v = context->get_saved_variables();
    auto& settings = context->saved_data;
    const BatchNorm n{v[0],
                      unless_none(v[1]),
                      v[3],
                      v[4],
                      unless_none(v[2]),
                      settings["groups"].toInt(),
                      settings["epsilon"].toDouble(),
                      settings["silu"].toBool(),
                      settings["dropout"].toDouble()};
    const Gradients g = gradients_of(n, v[5], v[6], gradients[0].contiguous());
    return {g.dx1, g.dx2, g.time, g.dweight, g.dbias, {}};
  }
};

/// [B, C, H, W], channels last, as an image.
Tensor image_view(const Tensor& x) {
  return x.defined() ? x.permute({0, 2, 3, 1}).contiguous() : Tensor();
}

}  // namespace

bool fits_cuda_norm(const Tensor& x1, const Tensor& x2, const Tensor& weight) {
  if (cuda_kernels() == nullptr || weight.scalar_type() != at::kFloat) return false;
  for (const Tensor& x : {x1, x2})
    if (x.defined() && !(x.is_cuda() && x.scalar_type() == at::kBFloat16 && x.dim() == 4 &&
                         x.is_contiguous(at::MemoryFormat::ChannelsLast) &&
                         x.size(1) % kernels::kChannelBlock == 0))
      return false;
  return true;
}

Tensor cuda_norm(const BatchNorm& norm) {
  const Tensor x1 = image_view(norm.x1), x2 = image_view(norm.x2),
               time = norm.time.defined() ? norm.time.to(at::kFloat).contiguous() : Tensor();
  return CudaNorm::apply(x1, none_like(x2, x1), none_like(time, norm.weight), norm.weight,
                         norm.bias, norm)
      .permute({0, 3, 1, 2});
}

}  // namespace tweedie
