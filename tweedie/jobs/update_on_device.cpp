#include "tweedie/jobs/update_on_device.h"

#include "tweedie/tensor/cuda.h"

namespace tweedie {
namespace {

void adam_by_operations(const kernels::AdamStep& step, const FlatBuffers& b,
                        const std::vector<float>& keeps) {
  const torch::NoGradGuard no_grad;
  Tensor w = b.weights, m = b.first_moment, v = b.second_moment;
  const Tensor g = b.gradients * step.gradient_scale + step.coupled_decay * w;
  m.mul_(step.beta1).add_(g, 1 - step.beta1);
  v.mul_(step.beta2).addcmul_(g, g, 1 - step.beta2);
  const Tensor denominator = v.sqrt().mul_(step.root_correction).add_(step.epsilon);
  w.sub_(step.decoupled_decay * w + step.step_size * m / denominator);
  for (size_t k = 0; k < keeps.size(); ++k) {
    Tensor average = b.averages[k];
    average.mul_(keeps[k]).add_(w, 1 - keeps[k]);
  }
}

bool has_twins(const Tensor& x) { return x.is_cuda() && cuda_kernels() != nullptr; }

}  // namespace

void adam_on_device(const kernels::AdamStep& step, const FlatBuffers& b,
                    const std::vector<float>& keeps) {
  if (!has_twins(b.weights)) return adam_by_operations(step, b, keeps);
  std::vector<kernels::Average> averages;
  for (size_t k = 0; k < keeps.size(); ++k)
    averages.push_back({b.averages[k].data_ptr<float>(), keeps[k]});
  cuda_kernels()->adam(step, b.weights.numel(), b.weights.data_ptr<float>(),
                       b.gradients.data_ptr<float>(), b.first_moment.data_ptr<float>(),
                       b.second_moment.data_ptr<float>(), averages.data(),
                       static_cast<int64_t>(averages.size()), cuda_stream(b.weights.device()));
}

double sum_of_squares_on_device(const Tensor& x) {
  if (!has_twins(x)) return x.to(at::kDouble).square().sum().item<double>();
  const Tensor sums = at::empty({kernels::cuda::kSumParts + 1}, x.options().dtype(at::kDouble));
  cuda_kernels()->sum_of_squares(x.numel(), x.data_ptr<float>(), sums.data_ptr<double>(),
                                 cuda_stream(x.device()));
  return sums[kernels::cuda::kSumParts].item<double>();
}

}  // namespace tweedie
