#include "tweedie/datasets/tensor_dataset.h"

#include <memory>
#include <numeric>

#include "tweedie/base/error.h"
#include "tweedie/tensor/finite.h"

namespace tweedie {
namespace {

struct Held {
  TensorExamples examples;
  Tensor places;  // int64
  std::string name;
};

Batch batch_of(const Held& held, at::ArrayRef<int64_t> indices) {
  const int64_t size = held.places.size(0);
  for (const int64_t index : indices)
    check(index >= 0 && index < size, held.name, ": there is no example ", index, "; there are ",
          size);
  const Tensor chosen = held.places.index_select(0, at::tensor(indices, at::kLong));
  const Tensor rows = held.examples.values.index_select(0, chosen);
  Batch out;
  if (const int64_t levels = held.examples.levels; levels > 0) {
    if (rows.scalar_type() != at::kByte || levels != 256)
      check(rows.numel() == 0 ||
                (rows.min().item<int64_t>() >= 0 && rows.max().item<int64_t>() < levels),
            held.name, ": has a value out of 0..", levels - 1);
    out.x = rows.to(at::kDouble).mul(2).div(static_cast<double>(levels - 1)).sub(1).to(at::kFloat);
  } else {
    out.x = rows.to(at::kFloat);
    check(all_finite(out.x), held.name, ": has a value that is infinite or no number");
  }
  if (held.examples.labels.defined())
    out.condition.label = held.examples.labels.index_select(0, chosen);
  return out;
}

}  // namespace

Dataset tensor_dataset(TensorExamples examples, const std::vector<int64_t>& places,
                       const std::string& name) {
  const int64_t count = examples.values.size(0);
  if (examples.labels.defined()) {
    check(examples.labels.numel() == count, name, ": has ", examples.labels.numel(),
          " labels for the ", count, " examples");
    const auto classes = static_cast<int64_t>(examples.classes.size());
    if (count > 0) {
      const int64_t most = examples.labels.max().item<int64_t>();
      check(examples.labels.min().item<int64_t>() >= 0 && most < classes, name, ": a label is ",
            most, ", but there are ", classes, " classes");
    }
  }
  Dataset out;
  out.name = name;
  out.size = static_cast<int64_t>(places.size());
  out.shape = examples.values.sizes().slice(1).vec();
  out.levels = examples.levels;
  if (examples.labels.defined()) out.classes = examples.classes;
  const auto held =
      std::make_shared<const Held>(Held{std::move(examples), at::tensor(places, at::kLong), name});
  out.get = [held](at::ArrayRef<int64_t> indices) { return batch_of(*held, indices); };
  return out;
}

std::vector<std::string> numbered_classes(const Tensor& labels, const std::string& name) {
  std::vector<std::string> names;
  if (!labels.defined() || labels.numel() == 0) return names;
  const int64_t least = labels.min().item<int64_t>(), most = labels.max().item<int64_t>();
  check(least >= 0 && most < 65536, name, ": a label is ", least < 0 ? least : most,
        "; expected 0 to 65535");
  for (int64_t i = 0; i <= most; ++i) names.push_back(std::to_string(i));
  return names;
}

std::vector<int64_t> all_places(const Tensor& values) {
  std::vector<int64_t> places(static_cast<size_t>(values.size(0)));
  std::iota(places.begin(), places.end(), int64_t{0});
  return places;
}

}  // namespace tweedie
