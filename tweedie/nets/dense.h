// A network of dense layers as one operation on bf16 activations: kernels/dense.h for tensors.
#pragma once

#include <memory>
#include <vector>

#include <torch/nn/modules/linear.h>
#include <torch/types.h>

namespace tweedie {

using torch::Tensor;

/// Columns of a float32 tensor [B, columns], and behind them the positional features of the noise
/// label [B, angles].
struct DenseInputSpec {
  int64_t columns = 0;
  int64_t split = 0;   // of the first columns, read to 16 bits instead of 8
  int64_t angles = 0;  // even
};

/// SiLU(sum of linear(from) + residual), or without SiLU.
struct DenseLayerSpec {
  struct Term {
    int from;
    torch::nn::Linear linear;
  };
  std::vector<Term> terms;
  int residual = -1;  // a layer before its SiLU, or an input
  bool silu = false;
};

struct DensePlan;

/// Parameters stay the layers' own, float32; packed copies are made again when they change.
class DenseNet {
 public:
  DenseNet();
  /// The number of the value; all inputs come before all layers.
  int input(const DenseInputSpec& spec);
  int layer(const DenseLayerSpec& spec);

  /// Whether this is the faster way, and a possible one: on a CPU with tiles, in bf16 (autocast),
  /// for inner widths that are multiples of 32, and without gradients in the label.
  bool fits(const Tensor& x, const Tensor& label) const;

  /// `inputs`: of each input with columns.  The last layer's output, float32 [B, outputs].
  Tensor operator()(const std::vector<Tensor>& inputs, const Tensor& label) const;

 private:
  std::shared_ptr<DensePlan> plan_;
};

}  // namespace tweedie
