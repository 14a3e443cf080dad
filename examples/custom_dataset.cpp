// Data of one's own: a size, a shape and a function from indices to examples.
//   custom_dataset train --data ring --out run --steps 500
#include <cmath>

#include <tweedie/tweedie.h>

using namespace tweedie;

/// `count` points on the unit circle.
Dataset ring(int64_t count) {
  const Tensor angle =
      torch::arange(count, torch::kFloat) * (2 * M_PI / static_cast<double>(count));
  const Tensor points = torch::stack({angle.cos(), angle.sin()}, 1);  // [count, 2]
  Dataset data;
  data.name = "ring";
  data.size = count;
  data.shape = {2};
  data.get = [points](at::ArrayRef<int64_t> indices) {
    return Batch{points.index_select(0, torch::tensor(indices)), {}};
  };
  return data;
}

int main(int argc, char** argv) {
  Registry registry = builtin();
  registry.datasets["ring"] = {"points on the unit circle", [](const Json& options) {
                                 return ring(options.value("n", int64_t{1000}));
                               }};
  return run_cli(argc, argv, registry);
}
