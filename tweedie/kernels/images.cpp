#include "tweedie/kernels/images.h"

#include <numeric>

#include "tweedie/kernels/conv_split.h"

namespace tweedie::kernels {
namespace {

/// Steele, Lea & Flood 2014, the finaliser of SplitMix64.
uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace

uint32_t dropout_key(uint64_t seed, int64_t layer, int64_t sample, int64_t step) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ull;
  uint64_t key = mixed(seed + kGolden);
  for (const int64_t part : {layer, sample, step})
    key = mixed((key ^ static_cast<uint64_t>(part)) + kGolden);
  return static_cast<uint32_t>(key >> 32);
}

void dropout_mask(const Dropout& dropout, int64_t count, float* mask) {
  const auto threshold = static_cast<uint32_t>(dropout.rate * 0x1p24f);
  const float scale = 1 / (1 - dropout.rate);
  for (int64_t i = 0; i < count; ++i) {
    uint32_t x = static_cast<uint32_t>(i) ^ dropout.key;  // Ettinger 2018, lowbias32
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    x ^= x >> 16;
    mask[i] = (x >> 8) >= threshold ? scale : 0;
  }
}

int64_t norm_block(int64_t channels, int64_t groups) {
  return std::lcm(kChannelBlock, channels / groups);
}

int64_t packed_blocks(const Convolution& c) {
  int64_t channels = 0;
  for (int i = 0; i < c.input_count; ++i) channels += c.inputs[i].channels;
  return channels / kChannelBlock;
}

int64_t packed_values(const Convolution& c) {
  return packed_blocks(c) * kChannelBlock * static_cast<int64_t>(c.plan->source.size());
}

int64_t weight_values(const Convolution& c) {
  return c.outputs / kTileRows * weight_stride(c.inputs[0], *c.plan);
}

int64_t convolution_parts(const Convolution& c, int64_t threads) {
  const int64_t together = images_together(c), groups = (c.batch + together - 1) / together;
  if (c.batch < threads) return c.outputs / kChannelBlock;
  return std::min(c.batch, (groups + threads - 1) / threads * threads);
}

}  // namespace tweedie::kernels
