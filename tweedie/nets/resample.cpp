#include "tweedie/nets/resample.h"

namespace tweedie {
namespace {

bool is_box(const std::vector<double>& filter) {
  return filter.size() == 2 && filter[0] == filter[1];
}

/// [C, 1, taps, taps]: one kernel for each channel.
Tensor kernel_of(const Tensor& x, const std::vector<double>& filter, double gain) {
  const Tensor given = torch::tensor(filter, at::kDouble), taps = given / given.sum();
  const auto size = static_cast<int64_t>(filter.size());
  return (at::outer(taps, taps) * gain).to(x.options()).expand({x.size(1), 1, size, size});
}

int64_t margin(const std::vector<double>& filter) {
  return static_cast<int64_t>(filter.size()) / 2 - 1;
}

Tensor smoothed(const Tensor& x, const std::vector<double>& filter, int64_t padding) {
  return at::conv2d(x, kernel_of(x, filter, 1), {}, at::IntArrayRef{2}, padding, at::IntArrayRef{1},
                    x.size(1));
}

}  // namespace

Tensor halved(const Tensor& x, const std::vector<double>& filter) {
  return is_box(filter) ? at::avg_pool2d(x, 2) : smoothed(x, filter, margin(filter));
}

Tensor halved_inside(const Tensor& x, const std::vector<double>& filter) {
  return is_box(filter) ? at::avg_pool2d(x, 2) : smoothed(x, filter, 0);
}

Tensor doubled(const Tensor& x, const std::vector<double>& filter) {
  if (is_box(filter)) return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
  return at::conv_transpose2d(x, kernel_of(x, filter, 4), {}, 2, margin(filter), 0, x.size(1));
}

}  // namespace tweedie
