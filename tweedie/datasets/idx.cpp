#include "tweedie/datasets/idx.h"

#include <filesystem>
#include <memory>

#include "tweedie/base/fields.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/idx_file.h"
#include "tweedie/datasets/split.h"
#include "tweedie/datasets/tensor_dataset.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

struct IdxOptions {
  std::string path, labels, test, test_labels;
  bool flip = false;
  double holdout = 0.1;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("path", path, "images file, gzip or not");
    visit("labels", labels, "labels file; found beside the images where it is named as MNIST's");
    visit("test", test, "images file of the test split; found beside as t10k-images...");
    visit("test_labels", test_labels, "its labels file");
    visit("flip", flip, "whether a mirrored image is as probable as the image");
    visit("holdout", holdout, "fraction kept for the test split where there is no test file");
  }
};

/// `from` -> `to` in the file's name, if it occurs there and such a file exists (with or without
/// .gz); else empty.
std::string sibling(const std::string& path, const std::string& from, const std::string& to) {
  std::string name = fs::path(path).filename().string();
  const size_t place = name.find(from);
  if (place == std::string::npos) return "";
  name.replace(place, from.size(), to);
  std::vector<std::string> names{name};
  names.push_back(name.ends_with(".gz") ? name.substr(0, name.size() - 3) : name + ".gz");
  for (const std::string& candidate : names) {
    const fs::path found = fs::path(path).parent_path() / candidate;
    std::error_code ignored;
    if (fs::is_regular_file(found, ignored)) return found.string();
  }
  return "";
}

std::string labels_beside(const std::string& images) {
  return sibling(images, "images-idx3", "labels-idx1");
}

/// The file's array without a copy.
Tensor read_tensor(const std::string& path, int64_t dimensions) {
  const auto array = std::make_shared<IdxArray>(read_idx(path, dimensions));
  return at::from_blob(
      array->values.data(), array->shape, [array](void*) {}, at::kByte);
}

TensorExamples read_examples(const std::string& images, const std::string& labels) {
  TensorExamples out;
  out.values = read_tensor(images, 3).unsqueeze(1);
  out.levels = 256;
  if (labels.empty()) return out;
  out.labels = read_tensor(labels, 1).to(at::kLong);
  check(out.labels.size(0) == out.values.size(0), labels, ": has ", out.labels.size(0),
        " labels for the ", out.values.size(0), " images of ", images);
  return out;
}

}  // namespace

Dataset open_idx(const std::string& images, const std::string& labels,
                 std::vector<std::string> classes, const std::string& name) {
  TensorExamples examples = read_examples(images, labels);
  examples.classes = std::move(classes);
  const std::vector<int64_t> places = all_places(examples.values);
  return tensor_dataset(std::move(examples), places, name);
}

Dataset make_idx(const Json& given) {
  Json rest = given;
  const Split split = take_split(rest, "idx");
  auto options = from_json<IdxOptions>(rest, "idx");
  check(!options.path.empty(), "idx: which file? Say idx:PATH, PATH being an images file");
  if (options.labels.empty()) options.labels = labels_beside(options.path);
  if (options.test.empty()) options.test = sibling(options.path, "train-images", "t10k-images");
  if (options.test_labels.empty() && !options.test.empty() && !options.labels.empty())
    options.test_labels = labels_beside(options.test);

  const std::string name = "idx:" + options.path;
  Dataset out;
  if (split == Split::test && !options.test.empty()) {
    check(options.labels.empty() || !options.test_labels.empty(), options.test,
          ": no labels file beside it, but the training images have one; say test_labels=PATH");
    std::vector<std::string> classes;
    if (!options.labels.empty())
      classes = numbered_classes(read_tensor(options.labels, 1).to(at::kLong), name);
    out = open_idx(options.test, options.labels.empty() ? "" : options.test_labels, classes, name);
  } else {
    TensorExamples examples = read_examples(options.path, options.labels);
    examples.classes = numbered_classes(examples.labels, name);
    const std::vector<int64_t> places =
        options.test.empty() ? hold_out(examples.values.size(0), options.holdout, split, name)
                             : all_places(examples.values);
    out = tensor_dataset(std::move(examples), places, name);
  }
  out.flip = options.flip;
  return out;
}

std::string idx_options_help() { return fields_help<IdxOptions>("  "); }

}  // namespace tweedie
