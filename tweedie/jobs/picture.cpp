#include "tweedie/jobs/picture.h"

#include <cmath>

#include "tweedie/jobs/plot.h"
#include "tweedie/tensor/image.h"

namespace tweedie {

namespace {

bool is_image(const std::vector<int64_t>& shape) { return shape.size() == 3 && shape[0] <= 4; }

bool is_plane(const std::vector<int64_t>& shape) { return shape.size() == 1 && shape[0] == 2; }

}  // namespace

bool fits_picture(const std::vector<int64_t>& shape) { return is_image(shape) || is_plane(shape); }

Tensor samples_picture(const Tensor& x, const DataShape& data, int64_t columns) {
  const std::vector<int64_t>& shape = data.shape;
  if (is_image(shape)) {
    const int64_t across =
        columns > 0 ? columns
                    : static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(x.size(0)))));
    const int64_t zoom =
        std::max<int64_t>(1, 56 / std::max(shape[1], shape[2]));  // a small image is 56 pixels wide
    return tile_images(x, across, 2, zoom, data.levels == 65536 ? 65536 : 256);
  }
  check(is_plane(shape), "samples of shape ", at::IntArrayRef(shape),
        " are no picture; write them as an array: --out samples.npy");
  Picture picture(480, 480);
  picture.scatter({.title = "", .points = x}, {0, 0, 480, 480});
  return picture.pixels();
}

}  // namespace tweedie
