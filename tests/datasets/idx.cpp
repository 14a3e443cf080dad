#include <cmath>
#include <filesystem>
#include <set>

#include <zlib.h>

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/idx_file.h"

using namespace tweedie;

namespace {

std::string idx_bytes(const std::vector<uint32_t>& shape, const std::string& values) {
  std::string out("\0\0\x08", 3);
  out += static_cast<char>(shape.size());
  for (const uint32_t size : shape)
    for (int i = 3; i >= 0; --i) out += static_cast<char>(size >> (8 * i));
  return out + values;
}

void put_gz(const std::string& path, const std::string& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
}

/// `count` images of 2 x 3 pixels whose first pixel is their number.
std::string images(uint32_t count) {
  std::string values;
  for (uint32_t i = 0; i < count; ++i)
    values += static_cast<char>(i) + std::string("\0\1\2\3\xff", 5);
  return idx_bytes({count, 2, 3}, values);
}
std::string labels(uint32_t count) {
  std::string values;
  for (uint32_t i = 0; i < count; ++i) values += static_cast<char>(i % 4);
  return idx_bytes({count}, values);
}

Json options(const std::string& path, const std::string& split) {
  return {{"path", path}, {"split", split}};
}

int number_of(const Dataset& data, int64_t index) {
  return static_cast<int>(std::lround((data.get({index}).x[0][0][0][0].item<float>() + 1) * 127.5));
}

}  // namespace

TEST_CASE("IDX images come with the labels beside them, scaled to [-1, 1], compressed or not") {
  const Scratch folder;
  for (const std::string ending : {"", ".gz"}) {
    CAPTURE(ending);
    const auto write = [&](const std::string& name, const std::string& bytes) {
      if (ending.empty())
        put(folder / name, bytes);
      else
        put_gz(folder / (name + ending), bytes);
    };
    write("train-images-idx3-ubyte", images(8));
    write("train-labels-idx1-ubyte", labels(8));
    write("t10k-images-idx3-ubyte", images(3));
    write("t10k-labels-idx1-ubyte", labels(3));
    const std::string path = folder / ("train-images-idx3-ubyte" + ending);
    const Dataset train = make_idx(options(path, "train"));
    CHECK(train.size == 8);
    CHECK(train.shape == std::vector<int64_t>{1, 2, 3});
    CHECK(train.levels == 256);
    CHECK(train.classes == std::vector<std::string>{"0", "1", "2", "3"});
    CHECK_FALSE(train.flip);
    const Batch batch = train.get({7, 1});
    CHECK(at::equal(batch.condition.label, at::tensor({3, 1}, at::kLong)));
    // 2k/255 - 1, as a float is rounded once.
    for (int i = 0; i < 6; ++i)
      CHECK(batch.x.view({2, 6})[0][i].item<float>() == static_cast<float>(2.0 *
                                                                               (i == 0   ? 7
                                                                                : i == 5 ? 255
                                                                                         : i - 1) /
                                                                               255 -
                                                                           1));
    const Dataset test = make_idx(options(path, "test"));
    CHECK(test.size == 3);
    CHECK(test.classes.size() == 4);  // the training data's, though 3 occur
    for (const char* name : {"train-images", "train-labels", "t10k-images", "t10k-labels"})
      for (const char* kind : {"-idx3-ubyte", "-idx1-ubyte"})
        std::filesystem::remove(folder / (std::string(name) + kind + ending));
  }
}

TEST_CASE("without a test file, a tenth is held out: apart from the rest and always the same") {
  const Scratch folder;
  put(folder / "digits", images(100));
  const Dataset train = make_idx(options(folder / "digits", "train"));
  const Dataset test = make_idx(options(folder / "digits", "test"));
  CHECK(train.size == 90);
  CHECK(test.size == 10);
  CHECK(train.classes.empty());
  CHECK_FALSE(train.get({0}).condition.label.defined());
  std::set<int> seen;
  for (int64_t i = 0; i < 90; ++i) seen.insert(number_of(train, i));
  for (int64_t i = 0; i < 10; ++i) seen.insert(number_of(test, i));
  CHECK(seen.size() == 100);
  const Dataset again = make_idx(options(folder / "digits", "test"));
  for (int64_t i = 0; i < 10; ++i) CHECK(number_of(test, i) == number_of(again, i));
  Json half = options(folder / "digits", "test");
  half["holdout"] = 0.5;
  CHECK(make_idx(half).size == 50);
}

TEST_CASE("IDX files that are no usable images are refused, each with its reason") {
  const Scratch folder;
  const std::string path = folder / "a";
  const auto refuse = [&](const std::string& bytes, const std::string& fault) {
    CAPTURE(fault);
    put(path, bytes);
    check_refused(path, fault, [&] { make_idx(options(path, "train")); });
  };
  check_refused(path, "no such file", [&] { make_idx(options(path, "train")); });
  check_refused(folder.path, "is not a file", [&] { make_idx(options(folder.path, "train")); });
  refuse("", "is empty");
  refuse("PNG and more", "magic number");
  refuse(std::string("\0\0\x0d\3", 4) + std::string(40, 'x'), "magic number");
  refuse(labels(9), "magic number");
  refuse(images(9).substr(0, 9), "truncated within its header");
  refuse(images(9).substr(0, 40), "truncated: its dimensions need 54");
  refuse(images(9) + "x", "bytes after the 54");
  refuse(idx_bytes({0, 2, 3}, ""), "dimension 0 is 0");
  refuse(idx_bytes({0xffffffff, 0xffffffff, 0xffffffff}, "x"), "more than 8 GiB");
  refuse(idx_bytes({8000000, 28, 28}, "x"), "truncated");  // 6 GB that are not there
  put_gz(path, images(200));
  const std::string packed = get(path);
  refuse(packed.substr(0, packed.size() / 2), "damaged or truncated gzip");
  refuse(packed.substr(0, packed.size() - 5), "damaged or truncated gzip");
  std::string wrong = packed;
  wrong[wrong.size() - 6] = static_cast<char>(wrong[wrong.size() - 6] ^ 1);  // of the checksum
  refuse(wrong, "damaged or truncated gzip");
  refuse(images(1), "at least 2 are needed");
}

TEST_CASE("labels that do not belong to the images are refused") {
  const Scratch folder;
  put(folder / "a", images(6));
  put(folder / "b", labels(5));
  Json given = options(folder / "a", "train");
  given["labels"] = folder / "b";
  check_refused(folder / "b", "has 5 labels for the 6 images", [&] { make_idx(given); });
  put(folder / "b", images(6));
  check_refused(folder / "b", "magic number", [&] { make_idx(given); });
  // Fashion-MNIST has ten classes, and no eleventh.
  put(folder / "train-images-idx3-ubyte", images(6));
  put(folder / "train-labels-idx1-ubyte", idx_bytes({6}, std::string(6, '\x0a')));
  CHECK(says(refusal([&] { make_fashion_mnist(options(folder.path, "train")); }),
             "a label is 10, but there are 10 classes"));
}

TEST_CASE("options that do not exist or make no sense are refused") {
  const Scratch folder;
  put(folder / "a", images(6));
  const auto error = [&](const std::string& key, const Json& value) {
    Json given = options(folder / "a", "train");
    given[key] = value;
    return refusal([&] { make_idx(given); });
  };
  CHECK(says(error("holdut", 0.1), "did you mean 'holdout'"));
  CHECK(says(error("holdout", "much"), "expected a number"));
  CHECK(says(error("holdout", 0), "between 0 and 1"));
  CHECK(says(error("holdout", 1), "between 0 and 1"));
  CHECK(says(error("split", "validation"), "\"train\" or \"test\""));
  CHECK(says(error("path", ""), "which file"));
  CHECK(says(idx_options_help(), "holdout = 0.1"));
}

TEST_CASE("without Fashion-MNIST's files the message says how to get them") {
  const Scratch folder;
  check_refused(folder.path, "apt install dataset-fashion-mnist",
                [&] { make_fashion_mnist(options(folder.path, "train")); });
}

TEST_CASE("Fashion-MNIST is 60,000 and 10,000 labelled images" *
          doctest::skip(!std::filesystem::exists("/usr/share/datasets/fashion-mnist"))) {
  const Dataset test = make_fashion_mnist({{"split", "test"}});
  CHECK(test.size == 10000);
  CHECK(test.shape == std::vector<int64_t>{1, 28, 28});
  CHECK(test.flip);
  // The first test image is an ankle boot (number 9).
  CHECK(test.classes[static_cast<size_t>(test.get({0}).condition.label.item<int64_t>())] ==
        "Ankle boot");
  CHECK(make_fashion_mnist({{"split", "train"}}).size == 60000);
}

TEST_CASE("random damage to IDX files, plain and compressed, gives data or an error") {
  const Scratch folder;
  const auto read = [&] { read_idx(folder / "a", 3); };
  CHECK(damage(images(20), folder / "a", 300, read) > 60);
  put_gz(folder / "a", images(20));
  CHECK(damage(get(folder / "a"), folder / "a", 300, read) > 150);  // it has a checksum
}
