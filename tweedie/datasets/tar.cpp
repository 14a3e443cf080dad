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
#include "tweedie/datasets/resize.h"
#include "tweedie/datasets/split.h"
#include "tweedie/datasets/tar_index.h"
#include "tweedie/tensor/image.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

struct TarOptions {
  std::string path;
  int64_t size = 0;
  bool flip = true;
  double holdout = 0.1;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("path", path, "a tar file, a folder of them, or shards as in data-{000..063}.tar");
    visit("size", size, "cut the central square and resize it to this many pixels; 0: as they are");
    visit("flip", flip, "whether a mirrored image is as probable as the image");
    visit("holdout", holdout, "fraction kept for the test split");
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
  std::vector<int64_t> size;    // {C, H, W, levels}
  int64_t resized;
  bool labelled;
};

std::string name_of(const Shards& contents, const TarEntry& entry) {
  return contents.shards[static_cast<size_t>(entry.shard)]->path() + ", image at byte " +
         std::to_string(entry.offset);
}

void read_tar_example(const Shards& contents, const TarEntry& entry, float* to) {
  const std::string where = name_of(contents, entry);
  Image image =
      decode_image(contents.shards[static_cast<size_t>(entry.shard)]->bytes(entry), where);
  if (contents.resized > 0) image.pixels = centre_square(image.pixels, contents.resized);
  const std::vector<int64_t> shape(contents.size.begin(), contents.size.begin() + 3);
  check(image.pixels.sizes() == shape && image.levels == contents.size[3], where, ": is ",
        Json(image.pixels.sizes().vec()).dump(), " of ", image.levels,
        " levels, the first image is ", Json(shape).dump(), " of ", contents.size[3],
        "; add ?size=N to cut and resize all of them, or convert them to one kind");
  const int32_t* from = image.pixels.data_ptr<int32_t>();
  const double top = static_cast<double>(image.levels - 1);
  for (int64_t i = 0; i < image.pixels.numel(); ++i)
    to[i] = static_cast<float>(2.0 * from[i] / top - 1);
}

Batch batch_of_shards(const Shards& contents, at::ArrayRef<int64_t> indices,
                      const std::string& name) {
  std::vector<int64_t> sizes = {static_cast<int64_t>(indices.size()), contents.size[0],
                                contents.size[1], contents.size[2]};
  Batch batch{at::empty(sizes), {}};
  if (contents.labelled) batch.condition.label = at::empty({sizes[0]}, at::kLong);
  const int64_t values = sizes[1] * sizes[2] * sizes[3];
  for (int64_t i = 0; i < sizes[0]; ++i) {
    const int64_t index = indices[static_cast<size_t>(i)];
    check(index >= 0 && index < static_cast<int64_t>(contents.places.size()), name,
          ": there is no example ", index, "; there are ", contents.places.size());
    const TarEntry& entry =
        contents.images[static_cast<size_t>(contents.places[static_cast<size_t>(index)])];
    read_tar_example(contents, entry, batch.x.data_ptr<float>() + i * values);
    if (contents.labelled) batch.condition.label.data_ptr<int64_t>()[i] = entry.label;
  }
  return batch;
}

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
  check(!contents->images.empty(), name, ": holds no PNG or JPEG images");
  int64_t labelled = 0, most = -1;
  for (const TarEntry& entry : contents->images) {
    labelled += entry.label >= 0;
    most = std::max<int64_t>(most, entry.label);
  }
  const auto count = static_cast<int64_t>(contents->images.size());
  check(labelled == 0 || labelled == count, name, ": ", labelled, " of ", count,
        " images have a class (.cls); expected all or none");
  contents->labelled = labelled > 0;
  contents->resized = options.size;
  const TarEntry& first = contents->images[0];
  contents->size = decoded_size(contents->shards[0]->bytes(first), name_of(*contents, first));
  if (options.size > 0) contents->size[1] = contents->size[2] = options.size;
  contents->places = hold_out(count, options.holdout, split, name);

  Dataset out;
  out.name = name;
  out.size = static_cast<int64_t>(contents->places.size());
  out.shape.assign(contents->size.begin(), contents->size.begin() + 3);
  out.levels = contents->size[3];
  for (int64_t i = 0; i <= most; ++i) out.classes.push_back(std::to_string(i));
  out.flip = options.flip;
  out.get = [contents, name](at::ArrayRef<int64_t> indices) {
    return batch_of_shards(*contents, indices, name);
  };
  return out;
}

std::string tar_options_help() { return fields_help<TarOptions>("  "); }

}  // namespace tweedie
