// Images in tar files, named as WebDataset does: KEY.png or KEY.jpg, and KEY.cls with its class.
// What is kept in memory is where each image lies.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>

#include <fcntl.h>
#include <unistd.h>

#include "tweedie/base/fields.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/encoded_images.h"
#include "tweedie/datasets/split.h"
#include "tweedie/datasets/tar_index.h"
#include "tweedie/tensor/image.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

struct TarOptions : EncodedImageOptions {
  template <class Visit>
  void fields(Visit&& visit) {
    visit("path", path, "a tar file, a folder of them, or shards as in data-{000..063}.tar");
    common_fields(visit);
  }
};

/// "a-{000..002}.tar" to three names.
std::vector<std::string> shards_of(const std::string& path) {
  const size_t open = path.find('{'), dots = path.find("..", open), close = path.find('}', open);
  if (open == std::string::npos) {
    std::error_code ignored;
    if (!fs::is_directory(path, ignored)) return {path};
    std::vector<std::string> out;
    fs::directory_iterator entry(path, ignored);
    for (; !ignored && entry != fs::directory_iterator(); entry.increment(ignored))
      if (entry->path().extension() == ".tar") out.push_back(entry->path().string());
    check(!ignored, path, ": cannot be read: ", ignored.message());
    std::sort(out.begin(), out.end());
    check(!out.empty(), path, ": a folder without .tar files");
    return out;
  }
  check(dots != std::string::npos && close != std::string::npos && dots < close, path,
        ": expected shards as in data-{000..063}.tar");
  const std::string first = path.substr(open + 1, dots - open - 1),
                    last = path.substr(dots + 2, close - dots - 2);
  const auto digits = [](const std::string& text) {
    return !text.empty() && text.size() <= 9 &&
           text.find_first_not_of("0123456789") == std::string::npos;
  };
  check(digits(first) && digits(last) && std::stoll(first) <= std::stoll(last) &&
            std::stoll(last) - std::stoll(first) < 100000,
        path, ": expected shards as in data-{000..063}.tar");
  std::vector<std::string> out;
  for (int64_t i = std::stoll(first); i <= std::stoll(last); ++i) {
    std::string number = std::to_string(i);
    number.insert(0, first.size() - std::min(first.size(), number.size()), '0');
    out.push_back(path.substr(0, open) + number + path.substr(close + 1));
  }
  return out;
}

/// An open shard, read at any place by any thread.
class Shard {
 public:
  explicit Shard(std::string path)
      : path_(std::move(path)), file_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
    check(file_ >= 0, path_, ": cannot be opened: ", std::strerror(errno));
  }
  ~Shard() { ::close(file_); }
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  std::string bytes(const TarEntry& entry) const {
    std::string out(static_cast<size_t>(entry.size), '\0');
    for (size_t done = 0; done < out.size();) {
      const ssize_t got = ::pread(file_, out.data() + done, out.size() - done,
                                  static_cast<off_t>(entry.offset) + static_cast<off_t>(done));
      check(got > 0, path_, ": cannot be read any more, or has become shorter");
      done += static_cast<size_t>(got);
    }
    return out;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int file_;
};

struct Shards {
  std::vector<std::unique_ptr<Shard>> shards;
  std::vector<TarEntry> images;
  std::vector<int64_t> places;  // of the split

  const TarEntry& entry(int64_t i) const {
    return images[static_cast<size_t>(places[static_cast<size_t>(i)])];
  }
  std::string bytes(const TarEntry& entry) const {
    return shards[static_cast<size_t>(entry.shard)]->bytes(entry);
  }
  std::string where(const TarEntry& entry) const {
    return shards[static_cast<size_t>(entry.shard)]->path() + ", image at byte " +
           std::to_string(entry.offset);
  }
};

}  // namespace

Dataset make_tar(const Json& given) {
  Json rest = given;
  const Split split = take_split(rest, "tar");
  const auto options = from_json<TarOptions>(rest, "tar");
  check(!options.path.empty(), "tar: which file? Say tar:FILE.tar");
  check(options.size >= 0 && options.size <= 16384, "tar: size is 1 to 16384 pixels, got ",
        options.size);
  const std::string name = "tar:" + options.path;
  auto contents = std::make_shared<Shards>();
  for (const std::string& path : shards_of(options.path)) {
    add_tar_images(path, static_cast<int32_t>(contents->shards.size()), contents->images);
    contents->shards.push_back(std::make_unique<Shard>(path));
  }
  check(!contents->images.empty(), name,
        ": holds no PNG or JPEG images: .png, .jpg or .jpeg after the first dot of their names");
  int64_t labelled = 0, most = -1;
  for (const TarEntry& entry : contents->images) {
    labelled += entry.label >= 0;
    most = std::max<int64_t>(most, entry.label);
  }
  const auto count = static_cast<int64_t>(contents->images.size());
  check(labelled == 0 || labelled == count, name, ": ", labelled, " of ", count,
        " images have a class (.cls); expected all or none");
  contents->places = hold_out(count, options.holdout, split, name);

  EncodedImages images;
  images.name = name;
  images.count = static_cast<int64_t>(contents->places.size());
  const TarEntry& first = contents->images[0];
  images.size = decoded_size(contents->bytes(first), contents->where(first));
  if (options.size > 0) images.size[1] = images.size[2] = options.size;
  images.resized = options.size;
  images.flip = options.flip;
  for (int64_t i = 0; i <= most; ++i) images.classes.push_back(std::to_string(i));
  images.read = [contents](int64_t i) {
    const TarEntry& entry = contents->entry(i);
    return decode_image(contents->bytes(entry), contents->where(entry));
  };
  images.where = [contents](int64_t i) { return contents->where(contents->entry(i)); };
  images.label = [contents](int64_t i) { return int64_t{contents->entry(i).label}; };
  return dataset_of(std::move(images));
}

std::string tar_options_help() { return fields_help<TarOptions>("  "); }

}  // namespace tweedie
