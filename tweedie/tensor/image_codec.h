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

/// Of the whole file; the place in it stays.
inline int64_t size_of(std::FILE* file) {
  const long at = std::ftell(file);
  std::fseek(file, 0, SEEK_END);
  const long size = std::ftell(file);
  std::fseek(file, at, SEEK_SET);
  return size;
}

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
