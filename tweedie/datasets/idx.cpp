#include "tweedie/datasets/idx.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>

#include "tweedie/base/fields.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/idx_file.h"
#include "tweedie/datasets/split.h"

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

struct Examples {
  IdxArray images;              // [N, H, W]
  std::vector<uint8_t> labels;  // [N], or empty
};

Examples read_examples(const std::string& images, const std::string& labels) {
  Examples out{read_idx(images, 3), {}};
  if (labels.empty()) return out;
  out.labels = read_idx(labels, 1).values;
  check(static_cast<int64_t>(out.labels.size()) == out.images.shape[0], labels, ": has ",
        out.labels.size(), " labels for the ", out.images.shape[0], " images of ", images);
  return out;
}

/// 0, 1, ... as their own names.
std::vector<std::string> numbered_classes(const std::vector<uint8_t>& labels) {
  std::vector<std::string> names;
  if (labels.empty()) return names;
  const int count = *std::max_element(labels.begin(), labels.end()) + 1;
  for (int i = 0; i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

Dataset dataset_of(Examples examples, std::vector<int64_t> places, std::vector<std::string> classes,
                   const std::string& name) {
  for (const uint8_t label : examples.labels)
    check(label < classes.size(), name, ": a label is ", int{label}, ", but there are ",
          classes.size(), " classes");
  const int64_t height = examples.images.shape[1], width = examples.images.shape[2];
  Dataset out;
  out.name = name;
  out.size = static_cast<int64_t>(places.size());
  out.shape = {1, height, width};
  out.levels = 256;
  if (!examples.labels.empty()) out.classes = std::move(classes);

  const auto data = std::make_shared<const Examples>(std::move(examples));
  out.get = [data, places = std::move(places), height, width, name](at::ArrayRef<int64_t> indices) {
    std::array<float, 256> value;
    for (int k = 0; k < 256; ++k) value[k] = static_cast<float>(2.0 * k / 255 - 1);
    const auto count = static_cast<int64_t>(indices.size());
    Batch batch{at::empty({count, 1, height, width}), {}};
    auto* to = batch.x.data_ptr<float>();
    if (!data->labels.empty()) batch.condition.label = at::empty({count}, at::kLong);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t index = indices[static_cast<size_t>(i)];
      check(index >= 0 && index < static_cast<int64_t>(places.size()), name,
            ": there is no example ", index, "; there are ", places.size());
      const auto place = static_cast<size_t>(places[static_cast<size_t>(index)]);
      const uint8_t* from =
          data->images.values.data() + place * static_cast<size_t>(height * width);
      for (int64_t j = 0; j < height * width; ++j) *to++ = value[from[j]];
      if (!data->labels.empty()) batch.condition.label.data_ptr<int64_t>()[i] = data->labels[place];
    }
    return batch;
  };
  return out;
}

std::vector<int64_t> all_places(const Examples& examples) {
  std::vector<int64_t> places(static_cast<size_t>(examples.images.shape[0]));
  std::iota(places.begin(), places.end(), int64_t{0});
  return places;
}

}  // namespace

Dataset open_idx(const std::string& images, const std::string& labels,
                 std::vector<std::string> classes, const std::string& name) {
  Examples examples = read_examples(images, labels);
  std::vector<int64_t> places = all_places(examples);
  return dataset_of(std::move(examples), std::move(places), std::move(classes), name);
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
    const std::vector<std::string> classes =
        options.labels.empty() ? std::vector<std::string>()
                               : numbered_classes(read_idx(options.labels, 1).values);
    out = open_idx(options.test, options.labels.empty() ? "" : options.test_labels, classes, name);
  } else {
    Examples examples = read_examples(options.path, options.labels);
    std::vector<int64_t> places =
        options.test.empty() ? hold_out(examples.images.shape[0], options.holdout, split, name)
                             : all_places(examples);
    std::vector<std::string> classes = numbered_classes(examples.labels);
    out = dataset_of(std::move(examples), std::move(places), std::move(classes), name);
  }
  out.flip = options.flip;
  return out;
}

std::string idx_options_help() { return fields_help<IdxOptions>("  "); }

}  // namespace tweedie
