#include "tweedie/jobs/describe_data.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tweedie/base/error.h"
#include "tweedie/base/spread.h"
#include "tweedie/jobs/picture.h"
#include "tweedie/tensor/image.h"
#include "tweedie/tensor/npy.h"

namespace tweedie {
namespace {

constexpr int64_t kBatch = 256;

/// Batches of the first `count` examples, one after the other.
void for_batches(const Dataset& data, int64_t count,
                 const std::function<void(const Batch&)>& visit) {
  for (int64_t done = 0; done < count;) {
    std::vector<int64_t> numbers(static_cast<size_t>(std::min(kBatch, count - done)));
    std::iota(numbers.begin(), numbers.end(), done);
    visit(data.get(numbers));
    done += static_cast<int64_t>(numbers.size());
  }
}

}  // namespace

Tensor examples_picture(const Dataset& data) {
  const DataShape shape{data.shape, data.levels, data.classes, data.columns};
  return samples_picture(data.get(spread_places(picture_count(shape), data.size)).x, shape);
}

Json describe_data(const Dataset& data, int64_t limit) {
  const int64_t count = limit > 0 ? std::min(limit, data.size) : data.size;
  double least = INFINITY, most = -INFINITY, sum = 0, square = 0, values = 0;
  std::vector<int64_t> classes(data.classes.size());
  for_batches(data, count, [&](const Batch& batch) {
    const Tensor x = batch.x.to(at::kDouble);
    least = std::min(least, x.min().item<double>());
    most = std::max(most, x.max().item<double>());
    sum += x.sum().item<double>();
    square += x.square().sum().item<double>();
    values += static_cast<double>(x.numel());
    if (!batch.condition.label.defined()) return;
    const Tensor label = batch.condition.label.contiguous();
    for (int64_t i = 0; i < label.numel(); ++i)
      ++classes.at(static_cast<size_t>(label.data_ptr<int64_t>()[i]));
  });
  const double mean = sum / values;
  Json out = {{"data", data.name},
              {"examples", data.size},
              {"shape", data.shape},
              {"levels", data.levels},
              {"looked_at", count},
              {"least", least},
              {"greatest", most},
              {"mean", mean},
              {"standard_deviation", std::sqrt(std::max(0.0, square / values - mean * mean))}};
  for (size_t i = 0; i < classes.size(); ++i) out["classes"][data.classes[i]] = classes[i];
  if (!data.columns.empty()) out["columns"] = data.columns;
  return out;
}

void write_arrays(const Dataset& data, int64_t limit, const std::string& path) {
  std::vector<Tensor> x, labels;
  for_batches(data, limit > 0 ? std::min(limit, data.size) : data.size, [&](const Batch& batch) {
    // Whole numbers as they were: half the point of an array is that others can read it.
    // (16 bits as int32, which array: reads as it does NumPy's uint16.)
    const bool image = data.levels == 256 || data.levels == 65536;
    x.push_back(image ? to_pixels(batch.x, data.levels) : batch.x);
    if (batch.condition.label.defined()) labels.push_back(batch.condition.label);
  });
  std::map<std::string, Tensor> arrays = {{"x", at::cat(x)}};
  if (!labels.empty()) arrays["labels"] = at::cat(labels);
  write_npz(path, arrays);
}

}  // namespace tweedie
