#include "tweedie/tensor/palette.h"

#include <algorithm>
#include <unordered_map>

namespace tweedie {
namespace {

constexpr size_t kMaxColours = 256;

uint32_t packed(const Colour& c) { return c[0] << 16 | c[1] << 8 | c[2]; }
uint32_t coarse(const Colour& c) { return (c[0] >> 3) << 10 | (c[1] >> 3) << 5 | (c[2] >> 3); }

struct Bin {
  std::array<double, 3> sum{};
  double count = 0;
  double mean(int channel) const { return sum[channel] / count; }
};

std::vector<Colour> colours_of(const at::Tensor& frame) {
  const at::Tensor bytes = frame.cpu().contiguous();
  const int64_t pixels = bytes.size(1) * bytes.size(2);
  const int64_t step = bytes.size(0) == 1 ? 0 : pixels;  // gray: three times the same plane
  const uint8_t* from = bytes.data_ptr<uint8_t>();
  std::vector<Colour> out(static_cast<size_t>(pixels));
  for (int64_t i = 0; i < pixels; ++i)
    out[static_cast<size_t>(i)] = {from[i], from[i + step], from[i + 2 * step]};
  return out;
}

/// The channel in which the bins of a box differ most, and by how much.
std::pair<int, double> longest_side(const std::vector<Bin>& box) {
  std::pair<int, double> longest{0, -1};
  for (int c = 0; c < 3; ++c) {
    const auto [low, high] = std::minmax_element(
        box.begin(), box.end(), [c](const Bin& a, const Bin& b) { return a.mean(c) < b.mean(c); });
    const double side = high->mean(c) - low->mean(c);
    if (side > longest.second) longest = {c, side};
  }
  return longest;
}

/// Halves the box of the longest side, by pixels, until there are enough.
std::vector<std::vector<Bin>> median_cut(std::vector<Bin> all) {
  std::vector<std::vector<Bin>> boxes{std::move(all)};
  std::vector<std::pair<int, double>> sides{longest_side(boxes[0])};
  while (boxes.size() < kMaxColours) {
    const auto widest = std::max_element(sides.begin(), sides.end(),
                                         [](auto& a, auto& b) { return a.second < b.second; });
    if (widest->second <= 0) break;  // every box holds one bin
    const auto place = static_cast<size_t>(widest - sides.begin());
    const int channel = widest->first;
    std::vector<Bin>& box = boxes[place];
    std::sort(box.begin(), box.end(),
              [channel](const Bin& a, const Bin& b) { return a.mean(channel) < b.mean(channel); });
    double total = 0, below = 0;
    for (const Bin& bin : box) total += bin.count;
    size_t cut = 0;
    while (cut + 1 < box.size() && (cut == 0 || below + box[cut].count <= total / 2))
      below += box[cut++].count;
    std::vector<Bin> upper(box.begin() + static_cast<std::ptrdiff_t>(cut), box.end());
    box.resize(cut);
    sides[place] = longest_side(box);
    sides.push_back(longest_side(upper));
    boxes.push_back(std::move(upper));
  }
  return boxes;
}

Colour mean_colour(const std::vector<Bin>& box) {
  Colour colour;
  for (int c = 0; c < 3; ++c) {
    double sum = 0, count = 0;
    for (const Bin& bin : box) {
      sum += bin.sum[c];
      count += bin.count;
    }
    colour[c] = static_cast<uint8_t>(sum / count + 0.5);
  }
  return colour;
}

}  // namespace

Paletted reduce_colours(const std::vector<at::Tensor>& frames) {
  Paletted out;
  std::unordered_map<uint32_t, uint8_t> exact;
  std::vector<Bin> bins(1 << 15);
  for (const at::Tensor& frame : frames) {
    for (const Colour& colour : colours_of(frame)) {
      Bin& bin = bins[coarse(colour)];
      for (int c = 0; c < 3; ++c) bin.sum[c] += colour[c];
      bin.count += 1;
      if (out.palette.size() <= kMaxColours &&
          exact.emplace(packed(colour), static_cast<uint8_t>(out.palette.size())).second)
        out.palette.push_back(colour);
    }
  }
  const bool is_exact = out.palette.size() <= kMaxColours;
  std::vector<uint8_t> place(1 << 15);
  if (!is_exact) {
    std::vector<Bin> used;
    std::copy_if(bins.begin(), bins.end(), std::back_inserter(used),
                 [](const Bin& bin) { return bin.count > 0; });
    out.palette.clear();
    for (const std::vector<Bin>& box : median_cut(std::move(used))) {
      for (const Bin& bin : box)
        place[coarse({static_cast<uint8_t>(bin.mean(0)), static_cast<uint8_t>(bin.mean(1)),
                      static_cast<uint8_t>(bin.mean(2))})] =
            static_cast<uint8_t>(out.palette.size());
      out.palette.push_back(mean_colour(box));
    }
  }
  for (const at::Tensor& frame : frames) {
    std::vector<uint8_t> pixels;
    for (const Colour& colour : colours_of(frame))
      pixels.push_back(is_exact ? exact.at(packed(colour)) : place[coarse(colour)]);
    out.frames.push_back(std::move(pixels));
  }
  return out;
}

}  // namespace tweedie
