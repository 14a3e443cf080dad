// Xiao et al. 2017 (arXiv:1708.07747): 60,000 + 10,000 gray images of clothes, 28 x 28.
#include <filesystem>

#include "tweedie/base/fields.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/idx.h"
#include "tweedie/datasets/split.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

struct FashionMnistOptions {
  std::string path = "/usr/share/datasets/fashion-mnist";
  template <class Visit>
  void fields(Visit&& visit) {
    visit("path", path, "folder of the four IDX files, gzip or not");
  }
};

std::string find_file(const std::string& folder, const std::string& name) {
  std::error_code ignored;
  for (const char* ending : {".gz", ""}) {
    const fs::path path = fs::path(folder) / (name + ending);
    if (fs::is_regular_file(path, ignored)) return path.string();
  }
  throw Error((fs::path(folder) / (name + ".gz")).string() +
              ": no such file; install Debian's package (apt install dataset-fashion-mnist) or say "
              "fashion-mnist:FOLDER");
}

}  // namespace

Dataset make_fashion_mnist(const Json& given) {
  Json rest = given;
  const Split split = take_split(rest, "fashion-mnist");
  const auto options = from_json<FashionMnistOptions>(rest, "fashion-mnist");
  const std::string prefix = split == Split::train ? "train" : "t10k";
  Dataset out = open_idx(find_file(options.path, prefix + "-images-idx3-ubyte"),
                         find_file(options.path, prefix + "-labels-idx1-ubyte"),
                         {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
                          "Sneaker", "Bag", "Ankle boot"},
                         "fashion-mnist");
  out.flip = true;  // shoes mostly point left, but one that points right is a shoe
  return out;
}

std::string fashion_mnist_options_help() { return fields_help<FashionMnistOptions>("  "); }

}  // namespace tweedie
