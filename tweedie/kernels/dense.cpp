#include "tweedie/kernels/dense.h"

namespace tweedie::kernels {

void lay_out(DenseNetwork& network) {
  network.kept = network.gradients = 0;
  const auto place = [](int64_t& end, int64_t width) {
    const int64_t begin = end;
    end += width * kDenseRows;
    return begin;
  };
  for (int v = 0; v < network.value_count; ++v) {
    DenseValue& value = network.values[v];
    value.activations = place(network.kept, value.width);
    if (value.silu) value.slopes = place(network.kept, value.width);
    if (v >= network.input_count) value.gradients = place(network.gradients, value.width);
  }
}

}  // namespace tweedie::kernels
