#include "tweedie/model/divergence.h"

#include <torch/autograd.h>

#include "tweedie/base/error.h"
#include "tweedie/base/fields.h"

namespace tweedie {
namespace {

/// grad^T J; the graph is kept for more.
Tensor vector_jacobian(const Tensor& output, const Tensor& input, const Tensor& grad) {
  const Tensor product =
      torch::autograd::grad({output}, {input}, {grad}, true, false, /*allow_unused=*/true)[0];
  return product.defined() ? product : torch::zeros_like(input);
}

}  // namespace

Divergence divergence_named(const std::string& name) {
  if (name == "exact") return Divergence::exact;
  if (name == "rademacher") return Divergence::rademacher;
  check(name == "gaussian", "divergence: unknown kind '", name, "'",
        suggestion(name, {"exact", "rademacher", "gaussian"}));
  return Divergence::gaussian;
}

std::vector<Tensor> keyed_probes(Divergence kind, int64_t count, uint64_t seed,
                                 at::ArrayRef<int64_t> samples, at::IntArrayRef shape) {
  check(kind != Divergence::exact, "probes: an exact trace has none");
  check(count >= 1, "probes: expected 1 or more, got ", count);
  const RandomKey key{seed, Stream::probes};
  std::vector<Tensor> out;
  for (int64_t k = 0; k < count; ++k)
    out.push_back(kind == Divergence::gaussian
                      ? keyed_normal(key, samples, k, shape)
                      : 1 - 2 * (keyed_uniform(key, samples, k, shape) < 0.5).to(at::kFloat));
  return out;
}

Tensor row_dots(const Tensor& a, const Tensor& b) {
  const Tensor left = a.flatten(1).to(at::kCPU, at::kDouble).contiguous(),
               right = b.flatten(1).to(at::kCPU, at::kDouble).contiguous();
  Tensor out = at::empty({left.size(0)}, at::kDouble);
  const double *l = left.data_ptr<double>(), *r = right.data_ptr<double>();
  for (int64_t i = 0; i < left.size(0); ++i) {
    double sum = 0;
    for (int64_t d = 0; d < left.size(1); ++d) sum += *l++ * *r++;
    out.data_ptr<double>()[i] = sum;
  }
  return out;
}

Tensor probe_jacobian(const Tensor& output, const Tensor& input,
                      const std::vector<Tensor>& probes) {
  const int64_t count = static_cast<int64_t>(probes.size());
  if (!output.requires_grad()) return at::zeros({input.size(0), count}, at::kDouble);
  std::vector<Tensor> out;
  for (const Tensor& probe : probes) {
    const Tensor v = probe.to(output.options()).view_as(output);
    out.push_back(row_dots(vector_jacobian(output, input, v), probe));
  }
  return at::stack(out, 1);
}

Tensor jacobian_trace(const Tensor& output, const Tensor& input) {
  Tensor trace = at::zeros({input.size(0), 1}, at::kDouble);
  if (!output.requires_grad()) return trace;
  const int64_t dims = input[0].numel();
  for (int64_t d = 0; d < dims; ++d) {
    Tensor unit = at::zeros({input.size(0), dims}, output.options());
    unit.select(1, d).fill_(1);
    trace += vector_jacobian(output, input, unit.view(output.sizes()))
                 .flatten(1)
                 .narrow(1, d, 1)
                 .to(at::kCPU, at::kDouble);
  }
  return trace;
}

}  // namespace tweedie
