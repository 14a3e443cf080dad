// Images on disk and as tensors: uint8 or 16-bit, channels first.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

namespace tweedie {

/// Pixels [C, H, W] as int32 in 0..levels-1, C = 1 (gray), 2 (gray + alpha), 3 (RGB) or 4 (RGBA);
/// nothing is converted.
struct Image {
  at::Tensor pixels;
  int64_t levels = 256;  // or 65536
};

/// PNG or JPEG, told by its first bytes.  Throws Error on anything else, on damage, and above 2^28
/// pixels.
Image read_image(const std::string& path);

/// Size without decoding: {C, H, W, levels}.
std::vector<int64_t> image_size(const std::string& path);

/// The same of a file's bytes; `where` is for messages.
Image decode_image(std::string_view bytes, const std::string& where);
std::vector<int64_t> decoded_size(std::string_view bytes, const std::string& where);

using TextChunks = std::vector<std::pair<std::string, std::string>>;

/// uint8 [C, H, W], or int32 in 0..65535 for 16 bits; C = 1..4.  With the texts as tEXt/iTXt
/// chunks. `where` is for messages.
std::string encode_png(const at::Tensor& pixels, const TextChunks& texts = {},
                       const std::string& where = "picture");
/// The same as a file, written atomically.
void write_png(const std::string& path, const at::Tensor& pixels, const TextChunks& texts = {});
/// The text chunks of a PNG.
TextChunks read_png_texts(const std::string& path);

/// Animation of uint8 frames [C, H, W], C = 1 or 3, looping for ever.
void write_gif(const std::string& path, const std::vector<at::Tensor>& frames,
               double seconds_per_frame);

/// Examples [B, C, H, W] in [-1, 1] -> one picture [C, rows*(H+gap)-gap, columns*(W+gap)-gap],
/// uint8 or, of 65536 levels, int32; values are clamped, small images are enlarged `zoom` times by
/// repetition.
at::Tensor tile_images(const at::Tensor& x, int64_t columns, int64_t gap = 2, int64_t zoom = 1,
                       int64_t levels = 256);

/// [-1, 1] -> 0..levels-1, rounded and clamped: inverse of 2k/(levels-1) - 1.
at::Tensor to_pixels(const at::Tensor& x, int64_t levels = 256);

}  // namespace tweedie
