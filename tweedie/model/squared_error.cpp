#include "tweedie/model/squared_error.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kTask = 1 << 14;  // elements

Tensor mean_over_dims(const Tensor& x) { return x.flatten(1).mean(1); }

/// work(example, first element, one past its last), spread over threads.
template <class Work>
void each_example(const Tensor& x, const Work& work) {
  const int64_t size = x.size(0) > 0 ? x.numel() / x.size(0) : 0;
  at::parallel_for(0, x.size(0), std::max<int64_t>(1, kTask / std::max<int64_t>(size, 1)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) work(i, i * size, (i + 1) * size);
                   });
}

struct SquaredErrorFunction : torch::autograd::Function<SquaredErrorFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& output, const MixedTarget& target,
                        const Tensor& weight) {
    // Nothing here is for autocast to convert, and asking it takes time.
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::DispatchKey::AutocastCPU);
    const Tensor difference = at::empty_like(output), square = at::empty_like(output);
    const float *y = output.data_ptr<float>(), *x0 = target.x0.data_ptr<float>(),
                *eps = target.eps.data_ptr<float>(), *of_x0 = target.of_x0.data_ptr<float>(),
                *of_eps = target.of_eps.data_ptr<float>();
    float *d = difference.data_ptr<float>(), *s = square.data_ptr<float>();
    each_example(output, [&](int64_t i, int64_t begin, int64_t end) {
      const float a = of_x0[i], b = of_eps[i];
      for (int64_t k = begin; k < end; ++k) {
        d[k] = y[k] - (a * x0[k] + b * eps[k]);
        s[k] = d[k] * d[k];
      }
    });
    context->saved_data["difference"] = difference;
    context->saved_data["weight"] = weight;
    return weight * mean_over_dims(square);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    check(!at::GradMode::is_enabled(), "loss: its kernel has no second derivatives");
    const Tensor difference = context->saved_data["difference"].toTensor(),
                 weight = context->saved_data["weight"].toTensor(),
                 gradient = gradients[0].contiguous(), dy = at::empty_like(difference);
    const float *d = difference.data_ptr<float>(), *w = weight.data_ptr<float>(),
                *g = gradient.data_ptr<float>();
    float* const out = dy.data_ptr<float>();
    each_example(difference, [&](int64_t i, int64_t begin, int64_t end) {
      const float of_square = g[i] * w[i] / static_cast<float>(end - begin);
      for (int64_t k = begin; k < end; ++k) out[k] = of_square * (2 * d[k]);
    });
    return {dy, {}, {}};
  }
};

bool plain_floats(const Tensor& x) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous();
}

}  // namespace

Tensor weighted_squared_error(const Tensor& output, const MixedTarget& target,
                              const Tensor& weight) {
  const int64_t batch = output.size(0);
  bool possible = plain_floats(output) && output.sizes() == target.x0.sizes() &&
                  output.sizes() == target.eps.sizes();
  for (const Tensor& t : {target.x0, target.eps, target.of_x0, target.of_eps, weight})
    possible = possible && plain_floats(t) && !t.requires_grad() && t.size(0) == batch;
  if (possible) return SquaredErrorFunction::apply(output, target, weight);
  const Tensor mixed = target.of_x0 * target.x0 + target.of_eps * target.eps;
  return weight * mean_over_dims((output.to(mixed.scalar_type()) - mixed).square());
}

}  // namespace tweedie
