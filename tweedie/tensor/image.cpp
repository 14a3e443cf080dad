#include "tweedie/tensor/image.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "tweedie/base/error.h"
#include "tweedie/tensor/image_codec.h"

namespace tweedie {
namespace {

struct Input {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file;
  bool png;
};

/// By its first bytes.
void tell_format(Input& input, const std::string& path) {
  unsigned char first[8];
  const size_t got = std::fread(first, 1, sizeof first, input.file.get());
  check(got > 0, path, ": is empty; expected a PNG or JPEG image");
  input.png = got == 8 && std::memcmp(first, "\x89PNG\r\n\x1a\n", 8) == 0;
  const bool jpeg = got >= 3 && std::memcmp(first, "\xff\xd8\xff", 3) == 0;
  check(input.png || jpeg, path, ": is neither a PNG nor a JPEG image");
  std::rewind(input.file.get());
}

/// Opens the file and tells its format by its first bytes.
Input open_image(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  check(std::filesystem::exists(status), path, ": no such file");
  check(std::filesystem::is_regular_file(status), path, ": is not a file");
  Input input{{std::fopen(path.c_str(), "rbe"), &std::fclose}, false};
  check(input.file != nullptr, path, ": cannot be read: ", std::strerror(errno));
  tell_format(input, path);
  return input;
}

Input open_in_memory(std::string_view bytes, const std::string& where) {
  check(!bytes.empty(), where, ": is empty; expected a PNG or JPEG image");
  Input input{{::fmemopen(const_cast<char*>(bytes.data()), bytes.size(), "rb"), &std::fclose},
              false};
  check(input.file != nullptr, where, ": cannot be read: ", std::strerror(errno));
  tell_format(input, where);
  return input;
}

}  // namespace

Image read_image(const std::string& path) {
  const Input input = open_image(path);
  return input.png ? decode_png(input.file.get(), path).image : decode_jpeg(input.file.get(), path);
}

std::vector<int64_t> image_size(const std::string& path) {
  const Input input = open_image(path);
  return input.png ? png_size(input.file.get(), path) : jpeg_size(input.file.get(), path);
}

Image decode_image(std::string_view bytes, const std::string& where) {
  const Input input = open_in_memory(bytes, where);
  return input.png ? decode_png(input.file.get(), where).image
                   : decode_jpeg(input.file.get(), where);
}

std::vector<int64_t> decoded_size(std::string_view bytes, const std::string& where) {
  const Input input = open_in_memory(bytes, where);
  return input.png ? png_size(input.file.get(), where) : jpeg_size(input.file.get(), where);
}

TextChunks read_png_texts(const std::string& path) {
  const Input input = open_image(path);
  check(input.png, path, ": is a JPEG image; only a PNG has text chunks");
  return decode_png(input.file.get(), path).texts;
}

at::Tensor to_pixels(const at::Tensor& x, int64_t levels) {
  check(levels == 256 || levels == 65536, "to_pixels: expected 256 or 65536 levels, got ", levels);
  const double top = static_cast<double>(levels - 1);
  // A value that is no number is drawn black: a cast of it would be undefined.
  const at::Tensor scaled =
      at::nan_to_num(x.to(at::kFloat), -1.0, 1.0, -1.0).clamp(-1, 1).add(1).mul(top / 2).round();
  return scaled.to(levels == 256 ? at::kByte : at::kInt);
}

at::Tensor tile_images(const at::Tensor& x, int64_t columns, int64_t gap, int64_t zoom,
                       int64_t levels) {
  check(x.dim() == 4 && x.numel() > 0, "tile_images: expected images [B, C, H, W], got shape ",
        x.sizes());
  check(columns >= 1 && gap >= 0 && zoom >= 1, "tile_images: needs columns >= 1, gap >= 0 and ",
        "zoom >= 1; got ", columns, ", ", gap, " and ", zoom);
  at::Tensor pixels = to_pixels(x.detach().cpu(), levels);  // [B, C, H, W]
  if (zoom > 1) pixels = pixels.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3);
  const int64_t count = pixels.size(0), height = pixels.size(2), width = pixels.size(3);
  const int64_t rows = (count + columns - 1) / columns;
  const at::Tensor picture =
      at::full({pixels.size(1), rows * (height + gap) - gap, columns * (width + gap) - gap},
               levels - 1, pixels.scalar_type());  // white between and beyond the images
  for (int64_t i = 0; i < count; ++i) {
    const int64_t top = i / columns * (height + gap), left = i % columns * (width + gap);
    picture.narrow(1, top, height).narrow(2, left, width).copy_(pixels[i]);
  }
  return picture;
}

}  // namespace tweedie
