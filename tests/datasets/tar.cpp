// Images in tar files.
#include <algorithm>

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/base/error.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/tar_index.h"
#include "tweedie/tensor/image.h"

using namespace tweedie;

namespace {

/// One entry as POSIX has it.
std::string entry(const std::string& name, const std::string& content, char kind = '0') {
  std::string block(512, '\0');
  const auto put_text = [&](size_t at, const std::string& text) {
    block.replace(at, text.size(), text);
  };
  char octal[16];
  put_text(0, name.substr(0, 100));
  std::snprintf(octal, sizeof octal, "%011zo", content.size());
  put_text(124, octal);
  block[156] = kind;
  put_text(257, "ustar");
  put_text(148, "        ");
  unsigned sum = 0;
  for (const char byte : block) sum += static_cast<unsigned char>(byte);
  std::snprintf(octal, sizeof octal, "%06o", sum);
  put_text(148, std::string(octal) + '\0' + ' ');
  std::string out = block + content;
  out.resize((out.size() + 511) / 512 * 512, '\0');
  return out;
}

std::string picture(int value) { return encode_png(at::full({3, 4, 5}, value, at::kByte)); }

const std::string kEnd(1024, '\0');

}  // namespace

TEST_CASE("images and their classes are found in shards") {
  const Scratch folder;
  put(folder / "a-000.tar", entry("x/000.png", picture(10)) + entry("x/000.cls", "3") +
                                entry("x/001.cls", "1\n") + entry("x/001.png", picture(20)) + kEnd);
  put(folder / "a-001.tar",
      entry("002.png", picture(30)) + entry("002.cls", "0") + entry("002.json", "{}") + kEnd);
  const std::string path = folder / "a-{000..001}.tar";
  const Dataset data = make_tar({{"path", path}, {"holdout", 0.4}});
  CHECK(data.size == 2);
  CHECK(data.shape == std::vector<int64_t>{3, 4, 5});
  CHECK(data.classes.size() == 4);
  const Dataset test = make_tar({{"path", folder / "."}, {"holdout", 0.4}, {"split", "test"}});
  CHECK(test.size == 1);
  // The class belongs to the picture.
  const std::vector<std::pair<double, int64_t>> known = {{10, 3}, {20, 1}, {30, 0}};
  for (const Dataset& part : {data, test})
    for (int64_t i = 0; i < part.size; ++i) {
      const Batch batch = part.get({i});
      const double value = (batch.x.max().item<double>() + 1) * 255 / 2;
      const int64_t label = batch.condition.label.item<int64_t>();
      CHECK(std::any_of(known.begin(), known.end(), [&](const auto& pair) {
        return std::abs(pair.first - value) < 1e-3 && pair.second == label;
      }));
    }
}

TEST_CASE("long names are read as GNU and POSIX write them") {
  const Scratch folder;
  const std::string name = std::string(150, 'd') + "/key.png";
  const std::string pax = "path=" + name + "\n";
  const std::string record = std::to_string(pax.size() + 4) + " " + pax;
  put(folder / "a.tar", entry("././@LongLink", name + '\0', 'L') + entry(name, picture(1)) +
                            entry("pax", record, 'x') + entry("short.txt", picture(2)) + kEnd);
  std::vector<TarEntry> images;
  add_tar_images(folder / "a.tar", 0, images);
  CHECK(images.size() == 2);
}

TEST_CASE("damaged tar files and mixed contents are refused") {
  const Scratch folder;
  const std::string good = entry("a.png", picture(1)) + entry("b.png", picture(2)) + kEnd;
  const auto fault = [&](const std::string& bytes) {
    put(folder / "a.tar", bytes);
    return refusal([&] { make_tar({{"path", folder / "a.tar"}}); });
  };
  CHECK(fault(good).empty());
  std::string wrong = good;
  wrong[3] = 'x';
  CHECK(says(fault(wrong), "checksum does not match"));
  CHECK(says(fault(good.substr(0, 520)), "the file has"));
  CHECK(says(fault(kEnd), "holds no PNG or JPEG images"));
  CHECK(says(
      fault(entry("a.png", picture(1)) + entry("a.cls", "1") + entry("b.png", picture(2)) + kEnd),
      "1 of 2 images have a class"));
  CHECK(says(fault(entry("a.cls", "many") + kEnd),
             "a.cls: a class is a number from 0 to 65535, got 'many'"));
  CHECK(says(fault("\x1f\x8b" + kEnd), "is compressed"));
  CHECK(says(fault(entry("a.v2.png", "x") + kEnd), "after the first dot"));
  CHECK(says(fault(entry("a.png", "text") + entry("b.png", "text") + kEnd),
             "neither a PNG nor a JPEG"));
  CHECK(says(refusal([&] { make_tar({{"path", folder / "a-{0..x}.tar"}}); }), "expected shards"));
  put(folder / "a.tar", good);
  CHECK(damage(good, folder / "b.tar", 2000, [&] {
          std::vector<TarEntry> images;
          add_tar_images(folder / "b.tar", 0, images);
        }) > 100);
}
