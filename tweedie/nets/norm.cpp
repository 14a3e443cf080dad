#include "tweedie/nets/norm.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "tweedie/kernels/kernels.h"
#include "tweedie/nets/cuda_norm.h"

namespace tweedie {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::NormShape shape_of(const Tensor& x, int64_t groups) {
  return {x.size(1), x.numel() / (x.size(0) * x.size(1)), groups};
}

struct GroupNormFunction : torch::autograd::Function<GroupNormFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& input, int64_t groups,
                        const Tensor& weight, const Tensor& bias, double epsilon, bool silu) {
    const Tensor x = input.contiguous();
    const kernels::NormShape shape = shape_of(x, groups);
    const Tensor y = at::empty_like(x), mean = at::empty({x.size(0), groups}, x.options()),
                 inverse_std = at::empty_like(mean);
    const auto& kernel = kernels::table();
    const int64_t size = shape.channels * shape.pixels;
    const float *in = x.data_ptr<float>(), *w = weight.data_ptr<float>(),
                *b = bias.data_ptr<float>();
    float *out = y.data_ptr<float>(), *m = mean.data_ptr<float>(),
          *r = inverse_std.data_ptr<float>();
    at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        kernel.norm_forward(shape, silu, static_cast<float>(epsilon), in + i * size, w, b,
                            out + i * size, m + i * groups, r + i * groups);
    });
    context->save_for_backward({x, weight, bias, mean, inverse_std});
    context->saved_data["groups"] = groups;
    context->saved_data["silu"] = silu;
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], dy = gradients[0].contiguous();
    const int64_t groups = context->saved_data["groups"].toInt();
    const bool silu = context->saved_data["silu"].toBool();
    const kernels::NormShape shape = shape_of(x, groups);
    const Tensor dx = at::empty_like(x),
                 dweight = at::empty({x.size(0), shape.channels}, x.options()),
                 dbias = at::empty_like(dweight);
    const auto& kernel = kernels::table();
    const int64_t size = shape.channels * shape.pixels;
    const float *in = x.data_ptr<float>(), *w = saved[1].data_ptr<float>(),
                *b = saved[2].data_ptr<float>(), *m = saved[3].data_ptr<float>(),
                *r = saved[4].data_ptr<float>(), *g = dy.data_ptr<float>();
    float *out = dx.data_ptr<float>(), *dw = dweight.data_ptr<float>(),
          *db = dbias.data_ptr<float>();
    at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        kernel.norm_backward(shape, silu, in + i * size, w, b, m + i * groups, r + i * groups,
                             g + i * size, out + i * size, dw + i * shape.channels,
                             db + i * shape.channels);
    });
    return {dx, {}, dweight.sum(0), dbias.sum(0), {}, {}};
  }
};

}  // namespace

Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias,
                  double epsilon, bool silu) {
  if (x.device().is_cpu() && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat)
    return GroupNormFunction::apply(x, groups, weight, bias, epsilon, silu);
  if (fits_cuda_norm(x, {}, weight))
    return cuda_norm({x, {}, weight, bias, {}, groups, epsilon, silu});
  const Tensor y = at::group_norm(x.to(weight.scalar_type()), groups, weight, bias, epsilon);
  return (silu ? at::silu(y) : y).to(x.scalar_type());
}

}  // namespace tweedie
