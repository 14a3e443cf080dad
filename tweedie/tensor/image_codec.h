// The formats behind image.h, each in its own file because of its own way to report errors.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "tweedie/tensor/image.h"

namespace tweedie {

constexpr int64_t kMaxPixels = int64_t{1} << 28;

struct DecodedPng {
  Image image;
  TextChunks texts;
};

// `path` is for messages.  All throw Error on damage and above kMaxPixels.
DecodedPng decode_png(std::FILE* file, const std::string& path);
std::vector<int64_t> png_size(std::FILE* file, const std::string& path);  // {C, H, W, levels}
Image decode_jpeg(std::FILE* file, const std::string& path);
std::vector<int64_t> jpeg_size(std::FILE* file, const std::string& path);

/// Interleaved samples [H, W, C] -> int32 [C, H, W].
template <class Sample>
at::Tensor planes(const Sample* samples, int64_t height, int64_t width, int64_t channels) {
  const at::Tensor out = at::empty({channels, height, width}, at::kInt);
  int32_t* to = out.data_ptr<int32_t>();
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t i = 0; i < height * width; ++i) *to++ = samples[i * channels + c];
  return out;
}

}  // namespace tweedie
