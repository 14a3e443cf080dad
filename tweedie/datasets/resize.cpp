#include "tweedie/datasets/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace tweedie {
namespace {

/// Where new pixel `i` lies among the old ones, and how much of each it covers.
struct Cover {
  int64_t first;
  std::vector<double> weights;  // sum to 1
};

std::vector<Cover> covers(int64_t from, int64_t to) {
  std::vector<Cover> out;
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  for (int64_t i = 0; i < to; ++i) {
    const double begin = static_cast<double>(i) * scale, end = begin + scale;
    Cover cover{static_cast<int64_t>(begin), {}};
    for (int64_t j = cover.first; j < from; ++j) {
      const double part =
          std::min(end, static_cast<double>(j + 1)) - std::max(begin, static_cast<double>(j));
      if (part <= 0) break;
      cover.weights.push_back(part / scale);
    }
    out.push_back(std::move(cover));
  }
  return out;
}

}  // namespace

at::Tensor centre_square(const at::Tensor& pixels, int64_t size) {
  const int64_t channels = pixels.size(0), height = pixels.size(1), width = pixels.size(2);
  const int64_t side = std::min(height, width);
  if (height == size && width == size) return pixels;
  const int64_t top = (height - side) / 2, left = (width - side) / 2;
  const at::Tensor source = pixels.contiguous();
  const at::Tensor out = at::empty({channels, size, size}, at::kInt);
  int32_t* to = out.data_ptr<int32_t>();
  const std::vector<Cover> cover = covers(side, size);
  std::vector<double> rows(static_cast<size_t>(side));  // one new row, still `side` wide
  for (int64_t c = 0; c < channels; ++c) {
    const int32_t* plane = source.data_ptr<int32_t>() + c * height * width;
    for (const Cover& vertical : cover) {
      std::fill(rows.begin(), rows.end(), 0.0);
      for (size_t j = 0; j < vertical.weights.size(); ++j) {
        const int32_t* row =
            plane + (top + vertical.first + static_cast<int64_t>(j)) * width + left;
        for (size_t x = 0; x < rows.size(); ++x) rows[x] += vertical.weights[j] * row[x];
      }
      for (const Cover& horizontal : cover) {
        double sum = 0;
        for (size_t j = 0; j < horizontal.weights.size(); ++j)
          sum += horizontal.weights[j] * rows[static_cast<size_t>(horizontal.first) + j];
        *to++ = static_cast<int32_t>(std::lround(sum));
      }
    }
  }
  return out;
}

}  // namespace tweedie
