#include <algorithm>
#include <filesystem>
#include <memory>

#include "tweedie/base/fields.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/encoded_images.h"
#include "tweedie/datasets/split.h"
#include "tweedie/tensor/image.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

struct ImageFolderOptions : EncodedImageOptions {
  template <class Visit>
  void fields(Visit&& visit) {
    visit("path", path, "folder of PNG and JPEG files; sub-folders are classes");
    common_fields(visit);
  }
};

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with("."); }

bool has_image_name(const fs::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg";
}

/// What a folder holds, by name and without hidden files.  Throws Error if it cannot be read.
std::vector<fs::path> listing(const fs::path& folder) {
  std::vector<fs::path> found;
  try {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder))
      if (!is_hidden(entry.path())) found.push_back(entry.path());
  } catch (const fs::filesystem_error& failure) {
    throw Error(folder.string() + ": cannot be read: " + failure.code().message());
  }
  std::sort(found.begin(), found.end());
  return found;
}

struct File {
  std::string path;
  int64_t label;
};
struct Folder {
  std::vector<File> files;
  std::vector<std::string> classes;
};

/// Images of a folder and of the folders within it.  Linked folders are passed over: a link may
/// lead back.
void add_files(const fs::path& folder, int64_t label, std::vector<File>& files) {
  for (const fs::path& path : listing(folder)) {
    std::error_code ignored;
    if (fs::is_directory(path, ignored) && !fs::is_symlink(path, ignored))
      add_files(path, label, files);
    else if (has_image_name(path))
      files.push_back({path.string(), label});
  }
}

Folder find_files(const fs::path& root) {
  Folder out;
  for (const fs::path& path : listing(root)) {
    std::error_code ignored;
    if (!fs::is_directory(path, ignored)) continue;
    const size_t before = out.files.size();
    add_files(path, static_cast<int64_t>(out.classes.size()), out.files);
    if (out.files.size() > before) out.classes.push_back(path.filename().string());
  }
  const size_t in_classes = out.files.size();
  for (const fs::path& path : listing(root)) {
    std::error_code ignored;
    if (!fs::is_directory(path, ignored) && has_image_name(path))
      out.files.push_back({path.string(), 0});
  }
  check(!out.files.empty(), root.string(),
        ": holds no PNG or JPEG images (names ending in .png, .jpg or .jpeg)");
  check(in_classes == 0 || in_classes == out.files.size(), root.string(), ": holds both images (",
        out.files.back().path, ") and sub-folders of images (",
        out.classes.empty() ? "" : out.classes[0],
        "); put every image into a sub-folder, its class, or none");
  return out;
}

/// Whether the folder keeps training and test images apart.
bool has_own_test(const fs::path& root) {
  std::error_code ignored;
  return fs::is_directory(root / "train", ignored) && fs::is_directory(root / "test", ignored);
}

/// The test folder's classes are the training folder's, whichever of them it holds.
void rename_classes(Folder& folder, const Folder& train, const std::string& where) {
  std::vector<int64_t> place;
  for (const std::string& name : folder.classes) {
    const auto found = std::find(train.classes.begin(), train.classes.end(), name);
    check(found != train.classes.end(), where, ": the class '", name,
          "' of the test images is none of the training images");
    place.push_back(found - train.classes.begin());
  }
  check(folder.classes.empty() == train.classes.empty(), where,
        ": either both 'train' and 'test' have classes (sub-folders) or neither");
  for (File& file : folder.files)
    if (!place.empty()) file.label = place[static_cast<size_t>(file.label)];
  folder.classes = train.classes;
}

/// {C, H, W, levels} that all files share.
std::vector<int64_t> shared_size(const std::vector<File>& files, int64_t resized) {
  std::vector<int64_t> first;
  for (const File& file : files) {
    std::vector<int64_t> size = image_size(file.path);
    if (resized > 0) size[1] = size[2] = resized;
    if (first.empty()) first = size;
    check(size[0] == first[0], "images differ in their channels: ", files[0].path, " has ",
          first[0], ", ", file.path, " has ", size[0], "; convert them to one kind");
    check(size[3] == first[3], "images differ in their depth: ", files[0].path, " has ", first[3],
          " levels, ", file.path, " has ", size[3], "; convert them to one kind");
    check(size == first, "images differ in size: ", files[0].path, " is ", first[2], " x ",
          first[1], ", ", file.path, " is ", size[2], " x ", size[1],
          "; add ?size=N to cut and resize all of them to N x N");
  }
  return first;
}

}  // namespace

Dataset make_image_folder(const Json& given) {
  Json rest = given;
  const Split split = take_split(rest, "images");
  const auto options = from_json<ImageFolderOptions>(rest, "images");
  check(!options.path.empty(), "images: which folder? Say images:FOLDER");
  check(options.size >= 0 && options.size <= 16384, "images: size is 1 to 16384 pixels, got ",
        options.size);
  const fs::path root = options.path;
  std::error_code ignored;
  check(fs::exists(root, ignored), options.path, ": no such folder");
  check(fs::is_directory(root, ignored), options.path, ": is a file; expected a folder of images");

  Folder folder;
  EncodedImages images;
  images.name = "images:" + options.path;
  if (has_own_test(root)) {
    const Folder train = find_files(root / "train");
    folder = split == Split::train ? train : find_files(root / "test");
    if (split == Split::test) rename_classes(folder, train, options.path);
    images.size = shared_size(folder.files, options.size);
  } else {
    folder = find_files(root);
    images.size = shared_size(folder.files, options.size);
    std::vector<File> chosen;
    for (const int64_t place :
         hold_out(static_cast<int64_t>(folder.files.size()), options.holdout, split, images.name))
      chosen.push_back(folder.files[static_cast<size_t>(place)]);
    folder.files = std::move(chosen);
  }
  images.count = static_cast<int64_t>(folder.files.size());
  images.resized = options.size;
  images.flip = options.flip;
  images.classes = std::move(folder.classes);
  const auto files = std::make_shared<const std::vector<File>>(std::move(folder.files));
  const auto file = [files](int64_t i) -> const File& { return (*files)[static_cast<size_t>(i)]; };
  images.read = [file](int64_t i) { return read_image(file(i).path); };
  images.where = [file](int64_t i) { return file(i).path; };
  images.label = [file](int64_t i) { return file(i).label; };
  return dataset_of(std::move(images));
}

std::string image_folder_options_help() { return fields_help<ImageFolderOptions>("  "); }

}  // namespace tweedie
