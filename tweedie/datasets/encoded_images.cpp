#include "tweedie/datasets/encoded_images.h"

#include <memory>

#include "tweedie/base/error.h"
#include "tweedie/base/json.h"
#include "tweedie/datasets/resize.h"

namespace tweedie {
namespace {

void read_into(const EncodedImages& images, int64_t index, float* to) {
  Image image = images.read(index);
  if (images.resized > 0) image.pixels = centre_square(image.pixels, images.resized);
  const std::vector<int64_t> shape(images.size.begin(), images.size.begin() + 3);
  check(image.pixels.sizes() == shape && image.levels == images.size[3], images.where(index),
        ": is ", Json(image.pixels.sizes().vec()).dump(), " of ", image.levels,
        " levels, the first image is ", Json(shape).dump(), " of ", images.size[3],
        "; either it has changed since, or images differ: ",
        images.resized > 0 ? "convert them to one kind"
                           : "convert them to one kind, or add ?size=N to cut and resize them");
  const int32_t* from = image.pixels.data_ptr<int32_t>();
  const double top = static_cast<double>(image.levels - 1);
  for (int64_t i = 0; i < image.pixels.numel(); ++i)
    to[i] = static_cast<float>(2.0 * from[i] / top - 1);
}

Batch batch_of(const EncodedImages& images, at::ArrayRef<int64_t> indices) {
  const auto count = static_cast<int64_t>(indices.size());
  Batch batch{at::empty({count, images.size[0], images.size[1], images.size[2]}), {}};
  const bool labelled = !images.classes.empty();
  if (labelled) batch.condition.label = at::empty({count}, at::kLong);
  const int64_t values = images.size[0] * images.size[1] * images.size[2];
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = indices[static_cast<size_t>(i)];
    check(index >= 0 && index < images.count, images.name, ": there is no example ", index,
          "; there are ", images.count);
    read_into(images, index, batch.x.data_ptr<float>() + i * values);
    if (labelled) batch.condition.label.data_ptr<int64_t>()[i] = images.label(index);
  }
  return batch;
}

}  // namespace

Dataset dataset_of(EncodedImages images) {
  for (const std::string& name : images.classes)
    check(is_utf8(name), images.name, ": the name of the class '", name, "' is not UTF-8");
  Dataset out;
  out.name = images.name;
  out.size = images.count;
  out.shape.assign(images.size.begin(), images.size.begin() + 3);
  out.levels = images.size[3];
  out.classes = images.classes;
  out.flip = images.flip;
  out.get = [shared = std::make_shared<const EncodedImages>(std::move(images))](
                at::ArrayRef<int64_t> indices) { return batch_of(*shared, indices); };
  return out;
}

}  // namespace tweedie
