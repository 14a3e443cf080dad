// Arrays of NumPy: images, series, vectors, anything else.
#include <filesystem>

#include "tweedie/base/fields.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/split.h"
#include "tweedie/datasets/tensor_dataset.h"
#include "tweedie/tensor/npy.h"

namespace tweedie {
namespace {

struct ArrayOptions {
  std::string path, key, labels, test, test_labels;
  std::string layout = "auto";
  bool flip = false;
  double holdout = 0.1;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("path", path, ".npy or .npz, examples along the first dimension");
    visit("key", key, "the examples' name in an .npz; needed where it has several arrays");
    visit("labels", labels, "classes: another .npy, or a name in the .npz");
    visit("test", test, "examples of the test split: another .npy, or a name in the .npz");
    visit("test_labels", test_labels, "their classes");
    visit(
        "layout", layout,
        "vector [N, ...], of any shape, for the network mlp; image [N, H, W], [N, C, H, W] or [N, "
        "H, W, C]; series [N, L] or [N, C, L]; auto: by the number of dimensions");
    visit("flip", flip, "whether a mirrored image is as probable as the image");
    visit("holdout", holdout, "fraction kept for the test split where there is no test array");
  }
};

/// Arrays by name, read when they are asked for.
class Source {
 public:
  explicit Source(const ArrayOptions& options) : options_(options) {
    if (options.path.ends_with(".npz")) archive_ = read_npz(options.path);
  }

  Tensor examples() const {
    if (!is_archive()) return read_npy(options_.path);
    if (!options_.key.empty()) return entry(options_.key);
    check(archive_.size() == 1, options_.path, ": holds ", archive_.size(), " arrays (", names(),
          "); say which with ?key=NAME");
    return archive_.begin()->second;
  }

  Tensor named(const std::string& name) const {
    if (name.ends_with(".npy")) return read_npy(name);
    check(is_archive(), options_.path, ": '", name, "' is no .npy file");
    return entry(name);
  }

 private:
  bool is_archive() const { return options_.path.ends_with(".npz"); }
  std::string names() const {
    std::string out;
    for (const auto& [name, array] : archive_) out += (out.empty() ? "" : ", ") + name;
    return out;
  }
  Tensor entry(const std::string& name) const {
    const auto found = archive_.find(name);
    check(found != archive_.end(), options_.path, ": has no array '", name, "'; it has ", names());
    return found->second;
  }

  const ArrayOptions& options_;
  std::map<std::string, Tensor> archive_;
};

/// [N, C, H, W], of a series [N, C, 1, L], or as it is.
Tensor arranged(const Tensor& values, std::string layout, const std::string& name) {
  const int64_t dimensions = values.dim();
  if (layout == "auto")
    layout = dimensions == 4                     ? "image"
             : dimensions != 3                   ? "vector"
             : values.scalar_type() == at::kByte ? "image"
                                                 : "series";
  const auto wrong = [&](const char* expected) {
    check(false, name, ": has shape ", Json(values.sizes().vec()).dump(), "; layout=", layout,
          " is for ", expected);
  };
  if (layout == "vector") return dimensions == 1 ? values.unsqueeze(1) : values;
  if (layout == "series") {
    if (dimensions != 2 && dimensions != 3) wrong("[N, L] or [N, C, L]");
    return (dimensions == 2 ? values.unsqueeze(1) : values).unsqueeze(2);
  }
  check(layout == "image", name, ": layout is auto, vector, image or series, got '", layout, "'");
  if (dimensions == 3) return values.unsqueeze(1);
  if (dimensions != 4) wrong("[N, H, W], [N, C, H, W] or [N, H, W, C]");
  // Four channels or fewer at the end, and more than that where they would be otherwise.
  const bool channels_last = values.size(3) <= 4 && values.size(1) > 4;
  return channels_last ? values.permute({0, 3, 1, 2}) : values;
}

TensorExamples examples_of(const Tensor& values, const Tensor& labels, const ArrayOptions& options,
                           const std::string& name) {
  check(values.dim() >= 1 && values.numel() > 0, name, ": has shape ",
        Json(values.sizes().vec()).dump(), "; expected examples along the first dimension");
  TensorExamples out;
  out.values = arranged(values, options.layout, name);
  const at::ScalarType type = values.scalar_type();
  out.levels = type == at::kByte ? 256 : 0;
  // 16 bits without a sign come as 32 with one.
  if (type == at::kInt && out.values.dim() == 4 && values.min().item<int64_t>() >= 0 &&
      values.max().item<int64_t>() < 65536)
    out.levels = 65536;
  if (!labels.defined()) return out;
  check(labels.dim() == 1 && !labels.is_floating_point(), name,
        ": labels are whole numbers [N], got shape ", Json(labels.sizes().vec()).dump());
  out.labels = labels.to(at::kLong);
  return out;
}

}  // namespace

Dataset make_array(const Json& given) {
  Json rest = given;
  const Split split = take_split(rest, "array");
  const auto options = from_json<ArrayOptions>(rest, "array");
  check(!options.path.empty(), "array: which file? Say array:FILE.npy");
  check(options.path.ends_with(".npy") || options.path.ends_with(".npz"), options.path,
        ": expected a name that ends in .npy or .npz");
  const std::string name = "array:" + options.path;
  const Source source(options);
  const auto labels_of = [&](const std::string& label) {
    return label.empty() ? Tensor() : source.named(label);
  };
  TensorExamples examples =
      examples_of(source.examples(), labels_of(options.labels), options, name);
  examples.classes = numbered_classes(examples.labels, name);
  std::vector<int64_t> places;
  if (options.test.empty()) {
    places = hold_out(examples.values.size(0), options.holdout, split, name);
  } else if (split == Split::train) {
    places = all_places(examples.values);
  } else {
    const std::vector<std::string> classes = examples.classes;
    check(options.labels.empty() == options.test_labels.empty(), name,
          ": either both labels and test_labels are given or neither");
    examples =
        examples_of(source.named(options.test), labels_of(options.test_labels), options, name);
    examples.classes = classes;
    places = all_places(examples.values);
  }
  Dataset out = tensor_dataset(std::move(examples), places, name);
  out.flip = options.flip;
  return out;
}

std::string array_options_help() { return fields_help<ArrayOptions>("  "); }

}  // namespace tweedie
