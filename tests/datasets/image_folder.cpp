#include <filesystem>
#include <set>

#include <sys/stat.h>
#include <unistd.h>

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"
#include "tests/tensor/encode.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/resize.h"
#include "tweedie/tensor/image.h"

using namespace tweedie;
namespace fs = std::filesystem;

namespace {

/// A PNG of one value.
void put_png(const std::string& path, int value, int64_t channels = 1, int64_t height = 4,
             int64_t width = 4) {
  fs::create_directories(fs::path(path).parent_path());
  write_png(path, at::full({channels, height, width}, value, at::kByte));
}

Dataset open_folder(const std::string& path, const std::string& split = "train",
                    Json more = Json::object()) {
  more["path"] = path;
  more["split"] = split;
  return make_image_folder(more);
}

std::set<int> values_of(const Dataset& data) {
  std::set<int> out;
  for (int64_t i = 0; i < data.size; ++i)
    out.insert(to_pixels(data.get({i}).x[0][0][0][0]).item<int>());
  return out;
}

}  // namespace

TEST_CASE("a folder of images is split once for all, and scaled exactly") {
  const Scratch folder;
  for (int i = 0; i < 20; ++i) put_png(folder / (std::to_string(i) + ".PNG"), i * 10);
  put(folder / "notes.txt", "not an image");
  put(folder / ".hidden.png", "not an image either");
  const Dataset train = open_folder(folder.path), test = open_folder(folder.path, "test");
  CHECK(train.size == 18);
  CHECK(test.size == 2);
  CHECK(train.shape == std::vector<int64_t>{1, 4, 4});
  CHECK(train.levels == 256);
  CHECK(train.flip);
  CHECK(train.classes.empty());
  std::set<int> all = values_of(train);
  all.merge(values_of(test));
  CHECK(all.size() == 20);
  const float first = train.get({0}).x[0][0][0][0].item<float>();
  const int k = static_cast<int>(std::lround((first + 1) * 127.5));
  CHECK(first == static_cast<float>(2.0 * k / 255 - 1));
}

TEST_CASE("sub-folders are classes, in the order of their names") {
  const Scratch folder;
  for (int i = 0; i < 10; ++i) {
    put_png(folder / ("dog/" + std::to_string(i) + ".png"), 200, 3);
    put_png(folder / ("cat/deep/" + std::to_string(i) + ".png"), 50, 3);
  }
  fs::create_directory(folder / "empty");
  const Dataset train = open_folder(folder.path);
  CHECK(train.classes == std::vector<std::string>{"cat", "dog"});
  CHECK(train.shape == std::vector<int64_t>{3, 4, 4});
  for (int64_t i = 0; i < train.size; ++i) {
    const Batch batch = train.get({i});
    CHECK(batch.condition.label.item<int64_t>() == (batch.x.max().item<float>() > 0 ? 1 : 0));
  }
}

TEST_CASE("folders named train and test are the splits") {
  const Scratch folder;
  for (int i = 0; i < 4; ++i) {
    put_png(folder / ("train/a/" + std::to_string(i) + ".png"), 10);
    put_png(folder / ("train/b/" + std::to_string(i) + ".png"), 20);
  }
  put_png(folder / "test/b/0.png", 30);
  const Dataset test = open_folder(folder.path, "test");
  CHECK(open_folder(folder.path).size == 8);
  CHECK(test.size == 1);
  CHECK(test.classes == std::vector<std::string>{"a", "b"});
  CHECK(test.get({0}).condition.label.item<int64_t>() == 1);
  put_png(folder / "test/c/0.png", 30);
  check_refused(folder.path, "class 'c'", [&] { open_folder(folder.path, "test"); });
}

TEST_CASE("gray with alpha, RGBA and 16-bit images keep their channels and levels") {
  const Scratch folder;
  for (int i = 0; i < 2; ++i) {
    put_png(folder / ("two/" + std::to_string(i) + ".png"), 7, 2);
    put_png(folder / ("four/" + std::to_string(i) + ".png"), 7, 4);
    fs::create_directories(folder / "deep");
    put(folder / ("deep/" + std::to_string(i) + ".png"), png_bytes(1, 1, 16, 0, "\xab\xcd"));
  }
  CHECK(open_folder(folder / "two").shape[0] == 2);
  CHECK(open_folder(folder / "four").shape[0] == 4);
  const Dataset deep = open_folder(folder / "deep");
  CHECK(deep.levels == 65536);
  CHECK(deep.get({0}).x.item<float>() == static_cast<float>(2.0 * 0xabcd / 65535 - 1));
}

TEST_CASE("images that differ are refused by name, and sizes can be made one") {
  const Scratch folder;
  put_png(folder / "a.png", 10, 1, 4, 6);
  put_png(folder / "b.png", 10, 1, 8, 6);
  const std::string message = refusal([&] { open_folder(folder.path); });
  CHECK(says(message, (folder / "a.png") + " is 6 x 4"));
  CHECK(says(message, (folder / "b.png") + " is 6 x 8"));
  CHECK(says(message, "?size=N"));
  const Dataset resized = open_folder(folder.path, "train", {{"size", 3}});
  CHECK(resized.shape == std::vector<int64_t>{1, 3, 3});
  CHECK(at::equal(to_pixels(resized.get({0}).x), at::full({1, 1, 3, 3}, 10, at::kByte)));
  put_png(folder / "c.png", 10, 3, 4, 6);
  CHECK(says(refusal([&] {
               open_folder(folder.path, "train", {{"size", 3}});
             }),
             "differ in their channels"));
  fs::remove(folder / "c.png");
  put(folder / "d.png", png_bytes(1, 1, 16, 0, "\xab\xcd"));
  CHECK(says(refusal([&] {
               open_folder(folder.path, "train", {{"size", 3}});
             }),
             "differ in their depth"));
}

TEST_CASE("a resized image is the mean of the area of its central square") {
  const at::Tensor ramp = at::arange(24, at::kInt).view({1, 4, 6});
  // Columns 1 to 4 are left, of which each new pixel is the mean of 2 x 2:
  // (1 + 2 + 7 + 8) / 4 = 4.5, and so on; halves are rounded up.
  CHECK(at::equal(centre_square(ramp, 2), at::tensor({5, 7, 17, 19}, at::kInt).view({1, 2, 2})));
  CHECK(centre_square(ramp, 1).item<int>() == 12);  // 11.5, rounded
  CHECK(at::equal(centre_square(ramp, 8).index({0, 0}).slice(0, 0, 4),
                  at::tensor({1, 1, 2, 2}, at::kInt)));
  // 3 pixels to 2: weights 1 and 1/2.
  const at::Tensor three = at::tensor({0, 30, 90}, at::kInt).expand({1, 3, 3});
  CHECK(at::equal(centre_square(three, 2)[0][0], at::tensor({10, 70}, at::kInt)));
}

TEST_CASE("folders without usable images are refused, each with its reason") {
  const Scratch folder;
  const auto refuse = [&](const std::string& path, const std::string& fault) {
    CAPTURE(fault);
    check_refused(path, fault, [&] { open_folder(path); });
  };
  refuse(folder / "none", "no such folder");
  put(folder / "file", "x");
  refuse(folder / "file", "is a file");
  fs::remove(folder / "file");
  refuse(folder.path, "holds no PNG or JPEG");
  put_png(folder / "a.png", 1);
  refuse(folder.path, "at least 2 are needed");
  put_png(folder / "b/c.png", 1);
  refuse(folder.path, "holds both images");
  fs::remove(folder / "a.png");
  put(folder / "b/d.png", "not a PNG");
  check_refused(folder / "b/d.png", "neither a PNG nor a JPEG", [&] { open_folder(folder.path); });
  if (geteuid() != 0) {  // root may read anything
    chmod((folder / "b").c_str(), 0);
    refuse(folder / "b", "cannot be read");
    chmod((folder / "b").c_str(), 0700);
  }
  CHECK(says(refusal([] { make_image_folder(Json::object()); }), "which folder"));
  CHECK(says(refusal([&] { open_folder(folder.path, "train", {{"size", -1}}); }), "1 to 16384"));
  CHECK(says(refusal([&] {
               open_folder(folder.path, "train", {{"sise", 1}});
             }),
             "did you mean 'size'"));
}

TEST_CASE("an image that is damaged or changed after the folder was opened is named") {
  const Scratch folder;
  put_png(folder / "a.png", 1);
  put_png(folder / "b.png", 1);
  const Dataset data = open_folder(folder.path);
  const std::string used = folder.path;  // one of the two is held out
  put_png(folder / "a.png", 1, 1, 9, 9);
  put_png(folder / "b.png", 1, 1, 9, 9);
  check_refused(used, "has changed", [&] { data.get({0}); });
  put(folder / "a.png", "no longer an image");
  put(folder / "b.png", "no longer an image");
  check_refused(used, "neither a PNG nor a JPEG", [&] { data.get({0}); });
  check_refused(used, "there is no example 1", [&] { data.get({1}); });
}

TEST_CASE("a class whose name is not UTF-8 is refused") {
  const Scratch folder;
  std::filesystem::create_directory(folder / "a\xff");
  put_png(folder / "a\xff/1.png", 1);
  put_png(folder / "a\xff/2.png", 1);
  check_refused(folder.path, "is not UTF-8", [&] { open_folder(folder.path); });
}
