#include "tweedie/tensor/image.h"

#include <cmath>

#include <gif_lib.h>

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"
#include "tests/tensor/encode.h"

using namespace tweedie;

namespace {

at::Tensor ramp(int64_t channels, int64_t height, int64_t width) {
  return at::arange(channels * height * width)
      .mul(37)
      .remainder(256)
      .to(at::kByte)
      .reshape({channels, height, width});
}

at::Tensor ints(std::vector<int32_t> values, std::vector<int64_t> shape) {
  return at::tensor(values, at::kInt).reshape(shape);
}

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out += static_cast<char>(value);
  return out;
}

struct Frames {
  std::vector<at::Tensor> frames;
  int delay = 0;
  bool loops = false;
};

Frames read_gif(const std::string& path) {
  int error = 0;
  GifFileType* gif = DGifOpenFileName(path.c_str(), &error);
  REQUIRE(gif);
  REQUIRE(DGifSlurp(gif) == GIF_OK);
  Frames out;
  for (int i = 0; i < gif->ImageCount; ++i) {
    const at::Tensor frame = at::empty({3, gif->SHeight, gif->SWidth}, at::kByte);
    for (int64_t j = 0; j < int64_t{gif->SHeight} * gif->SWidth; ++j) {
      const GifColorType colour = gif->SColorMap->Colors[gif->SavedImages[i].RasterBits[j]];
      uint8_t* to = frame.data_ptr<uint8_t>() + j;
      const int64_t plane = int64_t{gif->SHeight} * gif->SWidth;
      to[0] = colour.Red;
      to[plane] = colour.Green;
      to[2 * plane] = colour.Blue;
    }
    out.frames.push_back(frame);
    GraphicsControlBlock control;
    REQUIRE(DGifSavedExtensionToGCB(gif, i, &control) == GIF_OK);
    out.delay = control.DelayTime;
  }
  const ExtensionBlock& first = gif->SavedImages[0].ExtensionBlocks[0];
  out.loops = std::string(reinterpret_cast<char*>(first.Bytes), 11) == "NETSCAPE2.0";
  DGifCloseFile(gif, &error);
  return out;
}

}  // namespace

TEST_CASE("a PNG of 1 to 4 channels comes back exactly, with its texts") {
  const Scratch folder;
  for (int64_t channels = 1; channels <= 4; ++channels) {
    CAPTURE(channels);
    const TextChunks texts = {{"seed", "7"}, {"note", "Grüße\nline 2"}, {"empty", ""}};
    write_png(folder / "a.png", ramp(channels, 5, 7), texts);
    const Image image = read_image(folder / "a.png");
    CHECK(image.levels == 256);
    CHECK(at::equal(image.pixels, ramp(channels, 5, 7).to(at::kInt)));
    CHECK(image_size(folder / "a.png") == std::vector<int64_t>{channels, 5, 7, 256});
    CHECK(read_png_texts(folder / "a.png") == texts);
  }
}

TEST_CASE("16-bit, palette, few-bit and transparent PNGs keep their values") {
  const Scratch folder;
  const auto read = [&](const std::string& file) {
    put(folder / "a.png", file);
    const Image image = read_image(folder / "a.png");
    std::vector<int64_t> size = image.pixels.sizes().vec();
    size.push_back(image.levels);
    CHECK(image_size(folder / "a.png") == size);
    return image;
  };
  const Image deep = read(png_bytes(2, 1, 16, 0, bytes({0x12, 0x34, 0xff, 0xff})));
  CHECK(deep.levels == 65536);
  CHECK(at::equal(deep.pixels, ints({0x1234, 0xffff}, {1, 1, 2})));
  CHECK(at::equal(read(png_bytes(8, 1, 1, 0, bytes({0b10100001}))).pixels,
                  ints({255, 0, 255, 0, 0, 0, 0, 255}, {1, 1, 8})));
  const std::string palette = png_chunk("PLTE", bytes({1, 2, 3, 4, 5, 6}));
  CHECK(at::equal(read(png_bytes(2, 1, 8, 3, bytes({1, 0}), palette)).pixels,
                  ints({4, 1, 5, 2, 6, 3}, {3, 1, 2})));
  CHECK(at::equal(
      read(png_bytes(2, 1, 8, 3, bytes({1, 0}), palette + png_chunk("tRNS", bytes({9})))).pixels,
      ints({4, 1, 5, 2, 6, 3, 255, 9}, {4, 1, 2})));
}

TEST_CASE("a JPEG keeps its channels; its values are near what was stored") {
  const Scratch folder;
  // By content, whatever the name.  Quality 95 of a plain colour is exact within 2 of 255.
  put(folder / "gray.png", jpeg_bytes(16, 8, 1, std::string(128, '\x64')));
  const Image gray = read_image(folder / "gray.png");
  CHECK(gray.pixels.sizes() == std::vector<int64_t>{1, 8, 16});
  CHECK((gray.pixels - 100).abs().max().item<int>() <= 2);
  std::string colour;
  for (int i = 0; i < 64; ++i) colour += bytes({200, 100, 50});
  put(folder / "colour.jpg", jpeg_bytes(8, 8, 3, colour));
  const Image rgb = read_image(folder / "colour.jpg");
  const at::Tensor expected = ints({200, 100, 50}, {3, 1, 1});
  CHECK((rgb.pixels - expected).abs().max().item<int>() <= 2);
  CHECK(image_size(folder / "colour.jpg") == std::vector<int64_t>{3, 8, 8, 256});
}

TEST_CASE("files that are no usable image are refused, each with its reason") {
  const Scratch folder;
  const auto refuse = [&](const std::string& contents, const std::string& fault) {
    CAPTURE(fault);
    put(folder / "a", contents);
    check_refused(folder / "a", fault, [&] { read_image(folder / "a"); });
  };
  check_refused(folder / "none", "no such file", [&] { read_image(folder / "none"); });
  check_refused(folder.path, "is not a file", [&] { read_image(folder.path); });
  refuse("", "is empty");
  refuse("GIF89a and more", "neither a PNG nor a JPEG");
  const std::string png = png_bytes(4, 4, 8, 0, std::string(16, 'x'));
  refuse(png.substr(0, 20), "damaged PNG");
  refuse(png.substr(0, png.size() - 20), "damaged PNG");
  std::string flipped = png;
  flipped[png.size() - 20] = static_cast<char>(flipped[png.size() - 20] ^ 1);
  refuse(flipped, "damaged PNG");
  // Size fields of a tiny file that would take 2 GiB.
  refuse(png_of_packed(16000, 16000, 16, 6, "x"), "claims");
  refuse(png_of_packed(1 << 23, 1 << 23, 8, 0, "x"), "at most 2^28");
  refuse(png.substr(0, 33) + "\x7f\xff\xff\xfftEXtk", "chunk data is too large");  // 2 GiB of text
  const std::string jpeg = jpeg_bytes(32, 32, 3, std::string(32 * 32 * 3, 'x'));
  refuse(jpeg.substr(0, 30), "damaged JPEG");
  refuse(jpeg.substr(0, jpeg.size() - 8), "damaged JPEG");
  refuse(jpeg_bytes(8, 8, 4, std::string(256, 'x')), "CMYK");
  std::string huge = jpeg;  // its frame header: marker, length, 8 bits, height, width
  huge.replace(huge.find("\xff\xc0") + 5, 4, std::string("\x3f\xff\x3f\xff"));
  refuse(huge, "claims 16383 x 16383 pixels");
  put(folder / "a", jpeg);
  check_refused(folder / "a", "is a JPEG", [&] { read_png_texts(folder / "a"); });
}

TEST_CASE("random damage to an image gives a picture or an error") {
  const Scratch folder;
  write_png(folder / "a", ramp(3, 9, 11), {{"k", "v"}});
  const auto read = [&] {
    read_image(folder / "a");
    image_size(folder / "a");
  };
  CHECK(damage(get(folder / "a"), folder / "a", 150, read) > 110);  // every chunk has a checksum
  std::string noise;
  for (int i = 0; i < 32 * 32 * 3; ++i) noise += static_cast<char>(i * i * 7 % 256);
  CHECK(damage(jpeg_bytes(32, 32, 3, noise), folder / "a", 150, read) > 22);
}

TEST_CASE("pixels and texts that no PNG can hold are refused") {
  const Scratch folder;
  const auto write = [&](const at::Tensor& pixels, const TextChunks& texts = {}) {
    return refusal([&] { write_png(folder / "a.png", pixels, texts); });
  };
  CHECK(says(write(at::zeros({5, 2, 2}, at::kByte)), "C = 1..4"));
  CHECK(says(write(at::zeros({1, 2, 2})), "uint8"));
  CHECK(says(write(at::zeros({1, 0, 2}, at::kByte)), "uint8"));
  CHECK(says(write(ramp(1, 2, 2), {{"", "x"}}), "text chunk"));
  CHECK(says(write(ramp(1, 2, 2), {{std::string(80, 'k'), "x"}}), "text chunk"));
  CHECK(says(write(ramp(1, 2, 2), {{"k", std::string("a\0b", 3)}}), "text chunk"));
  CHECK(says(refusal([&] { write_png(folder / "none/a.png", ramp(1, 2, 2)); }), "does not exist"));
  CHECK(get(folder / "a.png").empty());
}

TEST_CASE("an animation of few colours comes back exactly, and loops") {
  const Scratch folder;
  const std::vector<at::Tensor> gray = {ramp(1, 6, 50), ramp(1, 6, 50).flip(2)};
  write_gif(folder / "a.gif", gray, 0.08);
  const Frames back = read_gif(folder / "a.gif");
  REQUIRE(back.frames.size() == 2);
  CHECK(back.delay == 8);
  CHECK(back.loops);
  for (size_t i = 0; i < 2; ++i) CHECK(at::equal(back.frames[i], gray[i].expand({3, 6, 50})));
}

TEST_CASE("an animation of many colours keeps each near its own") {
  const Scratch folder;
  const at::Tensor red = at::arange(64).mul(4).view({1, 1, 64}).expand({1, 64, 64});
  const at::Tensor frame =
      at::cat({red, red.transpose(1, 2), at::full({1, 64, 64}, 90)}).to(at::kByte);
  write_gif(folder / "a.gif", {frame}, 0.1);
  const at::Tensor back = read_gif(folder / "a.gif").frames.at(0);
  // 4096 colours of a square of side 252 in 256 boxes: 16 x 16 of them, 16 a side, so half of that.
  CHECK((back.to(at::kInt) - frame.to(at::kInt)).abs().max().item<int>() <= 12);
}

TEST_CASE("frames that no animation can hold are refused") {
  const Scratch folder;
  const auto write = [&](const std::vector<at::Tensor>& frames, double seconds) {
    return refusal([&] { write_gif(folder / "a.gif", frames, seconds); });
  };
  CHECK(says(write({}, 0.1), "at least one frame"));
  CHECK(says(write({ramp(2, 3, 3)}, 0.1), "C = 1 or 3"));
  CHECK(says(write({ramp(1, 3, 3), ramp(1, 3, 4)}, 0.1), "differ in shape"));
  CHECK(says(write({ramp(1, 3, 3)}, 0), "0.01 to 655"));
  CHECK(says(write({ramp(1, 3, 3)}, NAN), "0.01 to 655"));
}

TEST_CASE("to_pixels inverts 2k/(levels-1) - 1 and clamps the rest") {
  for (const int64_t levels : {int64_t{256}, int64_t{65536}}) {
    const at::Tensor k = at::arange(levels);
    const at::Tensor x = (k.to(at::kDouble) * 2 / (levels - 1) - 1).to(at::kFloat);
    CHECK(at::equal(to_pixels(x, levels).to(at::kLong), k));
  }
  const at::Tensor odd = at::tensor({-7.0, 7.0, double{INFINITY}, -double{INFINITY}, double{NAN}});
  CHECK(at::equal(to_pixels(odd), at::tensor({0, 255, 255, 0, 0}, at::kByte)));
  CHECK(says(refusal([] { to_pixels(at::zeros({1}), 17); }), "256 or 65536"));
}

TEST_CASE("tiles stand in rows, enlarged, with white between them") {
  const at::Tensor x = at::tensor({-1.0F, 1.0F, 0.0F}).view({3, 1, 1, 1});
  const at::Tensor picture = tile_images(x, 2, 1, 2);
  const at::Tensor expected = at::tensor({0,   0,   255, 255, 255,  //
                                          0,   0,   255, 255, 255,  //
                                          255, 255, 255, 255, 255,  //
                                          128, 128, 255, 255, 255,  //
                                          128, 128, 255, 255, 255},
                                         at::kByte)
                                  .view({1, 5, 5});
  CHECK(at::equal(picture, expected));
  CHECK(says(refusal([] { tile_images(at::zeros({0, 1, 2, 2}), 2); }), "expected images"));
  CHECK(says(refusal([] { tile_images(at::zeros({1, 1, 2, 2}), 0); }), "columns >= 1"));
}
