// Krizhevsky 2009: CIFAR-10 and CIFAR-100 in their binary versions, 32 x 32 RGB.
#include <filesystem>

#include "tweedie/base/fields.h"
#include "tweedie/base/mapped_file.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/split.h"
#include "tweedie/datasets/tensor_dataset.h"
#include "tweedie/tensor/tensor_bytes.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPixels = 3 * 32 * 32;

struct CifarOptions {
  std::string path;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("path", path, "folder of the binary version: data_batch_1.bin, ..., or train.bin");
  }
};

/// Rows of `labels` label bytes, of which the last counts, and the pixels.
TensorExamples read_file(const fs::path& path, int64_t labels) {
  const auto file = std::make_shared<MappedFile>(path.string());
  const auto bytes = static_cast<int64_t>(file->bytes().size());
  check(bytes > 0 && bytes % (labels + kPixels) == 0, path.string(), ": has ", bytes,
        " bytes; expected a multiple of ", labels + kPixels, " (is this the binary version?)");
  const Tensor rows = tensor_of({file->bytes(), file}, file->bytes(),
                                {bytes / (labels + kPixels), labels + kPixels}, at::kByte);
  return {rows.narrow(1, labels, kPixels), rows.select(1, labels - 1).to(at::kLong), 256, {}};
}

/// A text file's lines; the classes' names, where the folder has them.
std::vector<std::string> read_names(const fs::path& path, int64_t classes) {
  std::vector<std::string> names;
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) {
    const MappedFile file(path.string());
    std::string line;
    for (const char c : file.bytes()) {
      if (c != '\n' && c != '\r') line += c;
      if (c == '\n' && !line.empty()) names.push_back(std::exchange(line, ""));
    }
    if (!line.empty()) names.push_back(line);
    for (const std::string& name : names)
      check(is_utf8(name), path.string(), ": a class's name is not UTF-8");
  }
  if (static_cast<int64_t>(names.size()) == classes) return names;
  names.clear();
  for (int64_t i = 0; i < classes; ++i) names.push_back(std::to_string(i));
  return names;
}

}  // namespace

Dataset make_cifar(const Json& given) {
  Json rest = given;
  const Split split = take_split(rest, "cifar");
  const auto options = from_json<CifarOptions>(rest, "cifar");
  check(!options.path.empty(), "cifar: which folder? Say cifar:FOLDER");
  const fs::path folder = options.path;
  std::error_code ignored;
  check(fs::is_directory(folder, ignored), options.path, ": no such folder");
  const bool hundred = fs::exists(folder / "train.bin", ignored);
  std::vector<fs::path> files;
  if (hundred)
    files = {folder / (split == Split::train ? "train.bin" : "test.bin")};
  else if (split == Split::test)
    files = {folder / "test_batch.bin"};
  else
    for (int i = 1; i <= 5; ++i)
      files.push_back(folder / ("data_batch_" + std::to_string(i) + ".bin"));
  std::vector<Tensor> values, labels;
  for (const fs::path& file : files) {
    const TensorExamples part = read_file(file, hundred ? 2 : 1);
    values.push_back(part.values);
    labels.push_back(part.labels);
  }
  TensorExamples all{at::cat(values).view({-1, 3, 32, 32}), at::cat(labels), 256, {}};
  all.classes = hundred ? read_names(folder / "fine_label_names.txt", 100)
                        : read_names(folder / "batches.meta.txt", 10);
  const std::vector<int64_t> places = all_places(all.values);
  Dataset out = tensor_dataset(std::move(all), places, "cifar:" + options.path);
  out.flip = true;
  return out;
}

std::string cifar_options_help() { return fields_help<CifarOptions>("  "); }

}  // namespace tweedie
