// At most 256 colours for an animation.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <ATen/ATen.h>

namespace tweedie {

using Colour = std::array<uint8_t, 3>;

/// One palette for all frames (uint8 [C, H, W], C = 1 or 3) and, for each, its pixels as places in
/// it.  Exact where the frames have at most 256 colours, else by median cut (Heckbert 1982) on 5
/// bits a channel.
struct Paletted {
  std::vector<Colour> palette;
  std::vector<std::vector<uint8_t>> frames;  // [H * W] each
};
Paletted reduce_colours(const std::vector<at::Tensor>& frames);

}  // namespace tweedie
