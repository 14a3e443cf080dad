#include "tweedie/nets/unet_options.h"

#include <algorithm>
#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/nets/embedding.h"

namespace tweedie {
namespace {

constexpr int64_t kMaxChannels = 1 << 14;  // a convolution between more has over 9 GB of weights

bool contains(const std::vector<int64_t>& list, int64_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

/// One entry for all, or one for each.
const std::string& entry(const std::vector<std::string>& list, int64_t i) {
  return list.size() == 1 ? list[0] : list.at(static_cast<size_t>(i));
}

void one_of(const std::string& value, const char* name, const std::vector<std::string>& known) {
  check(std::find(known.begin(), known.end(), value) != known.end(), "model.", name,
        ": unknown value '", value, "'", suggestion(value, known));
}

void at_least(int64_t value, int64_t least, const char* name) {
  check(value >= least && value <= kMaxChannels, "model.", name, ": expected ", least, " to ",
        kMaxChannels, ", got ", value);
}

void check_widths(const UnetOptions& o) {
  at_least(o.channels, 1, "channels");
  check(o.stages() >= 1, "model.multipliers: expected at least one stage, got []");
  for (const int64_t m : o.multipliers)
    check(m >= 1 && m <= kMaxChannels / o.channels,
          "model.multipliers: expected 1 or more, and at most ", kMaxChannels, " channels; got ",
          m);
  for (const int64_t width : o.widths) at_least(width, 1, "widths");
  at_least(o.first_width, 0, "first_width");
  at_least(o.time_features, 0, "time_features");
  at_least(o.time_channels, 0, "time_channels");
  at_least(o.out_channels, 0, "out_channels");
  at_least(o.augmentations, 0, "augmentations");
  check(o.layers_per_block >= 1 && o.layers_per_block <= 1000,
        "model.layers_per_block: expected 1 to 1000, got ", o.layers_per_block);
}

void check_names(const UnetOptions& o) {
  one_of(o.resnet_time_scale_shift, "resnet_time_scale_shift", {"default", "scale_shift"});
  one_of(o.kernels, "kernels", {"fast", "reference", "images"});
  one_of(o.encoder, "encoder", {"standard", "skip", "residual"});
  one_of(o.decoder, "decoder", {"standard", "skip"});
  one_of(o.activation, "activation", {"silu", "mish", "gelu", "relu"});
  one_of(o.time_embedding, "time_embedding", {"positional", "fourier", "learned"});
  one_of(o.class_embedding, "class_embedding",
         {"table", "linear", "linear-features", "timestep", "identity"});
  check(o.time_embedding != "learned" || (o.time_steps >= 1 && o.time_steps <= 1 << 20),
        "model.time_steps: a learned time embedding needs its number of rows, 1 to 2^20; got ",
        o.time_steps);
  check(o.time_embedding != "fourier" || o.time_features % 2 == 0,
        "model.time_features: fourier makes an even number of features, got ", o.time_features);
}

void check_resampling(const UnetOptions& o) {
  for (const auto& [list, name] :
       {std::pair{&o.down_resampling, "down_resampling"}, {&o.up_resampling, "up_resampling"}}) {
    check(list->size() == 1 || static_cast<int64_t>(list->size()) == o.stages() - 1, "model.", name,
          ": expected 1 entry or ", o.stages() - 1, ", got ", list->size());
    for (const std::string& kind : *list) one_of(kind, name, {"conv", "resnet"});
  }
  double sum = 0;
  for (const double tap : o.resample_filter) sum += tap;
  check(o.resample_filter.size() % 2 == 0 && !o.resample_filter.empty() &&
            o.resample_filter.size() <= 16 && std::isfinite(sum) && sum != 0,
        "model.resample_filter: expected an even number of taps, at most 16, that do not sum to 0; "
        "got ",
        Json(o.resample_filter).dump());
  bool down = true, up = true;
  for (int64_t i = 0; i + 1 < o.stages(); ++i) {
    down = down && o.resnet_down(i);
    up = up && o.resnet_up(i);
  }
  check(o.encoder == "standard" || down, "model.encoder=", o.encoder,
        " needs model.down_resampling=[\"resnet\"]");
  check(o.decoder == "standard" || up, "model.decoder=", o.decoder,
        " needs model.up_resampling=[\"resnet\"]");
}

void check_sizes(const UnetOptions& o) {
  check(o.sample_shape.size() == 3, "unet: is for images [C, H, W]; this data has shape ",
        Json(o.sample_shape).dump(), "; use model.network=mlp");
  for (const int64_t size : o.sample_shape)
    check(size >= 1, "unet: an image has at least 1 channel, row and column, got ", size);
  for (size_t side = 1; side <= 2; ++side) {
    int64_t size = o.sample_shape[side];
    bool resnets = false;
    for (int64_t i = 0; i + 1 < o.stages(); ++i)
      resnets = resnets || o.resnet_down(i) || o.resnet_up(i);
    if (size == 1 && o.downsample_padding == 1 && !resnets)
      continue;  // a series, which has one row at every stage
    for (int64_t i = 0; i + 1 < o.stages(); ++i) {
      check(size >= 2, "model.multipliers: ", o.stages(), " stages halve images of ",
            o.sample_shape[1], " x ", o.sample_shape[2], " away; use fewer");
      check(!(o.resnet_down(i) || o.resnet_up(i)) || size % 2 == 0,
            "model.down_resampling: resnets halve even sizes, not the ", size, " of stage ", i + 1);
      size = o.downsample_padding == 0 ? size / 2 : (size + 1) / 2;
    }
  }
}

}  // namespace

int64_t UnetOptions::height(int64_t stage) const {
  int64_t size = sample_shape.at(1) == 1 ? sample_shape.at(2) : sample_shape.at(1);
  // Padded on all sides a size is rounded up, right and below alone it is rounded down.
  for (int64_t i = 0; i < stage; ++i) size = downsample_padding == 0 ? size / 2 : (size + 1) / 2;
  return size;
}

bool UnetOptions::attends_down(int64_t stage) const { return contains(attention, height(stage)); }

bool UnetOptions::attends_up(int64_t stage) const {
  return contains(attention_up, -1) ? attends_down(stage) : contains(attention_up, height(stage));
}

bool UnetOptions::resnet_down(int64_t stage) const {
  return entry(down_resampling, stage) == "resnet";
}

bool UnetOptions::resnet_up(int64_t stage) const {
  return entry(up_resampling, stages() - 2 - stage) == "resnet";
}

int64_t UnetOptions::groups(int64_t of_channels) const {
  if (norm_min_channels == 0) return norm_num_groups;
  return std::max<int64_t>(1, std::min(norm_num_groups, of_channels / norm_min_channels));
}

int64_t UnetOptions::out() const {
  return out_channels > 0 ? out_channels : sample_shape.at(0) * (learned_variance ? 2 : 1);
}

void check_unet_options(const UnetOptions& o) {
  check_widths(o);
  check_names(o);
  check_resampling(o);
  check_sizes(o);
  check(o.dropout >= 0 && o.dropout < 1, "model.dropout: expected a rate in [0, 1), got ",
        o.dropout);
  check(o.norm_eps > 0, "model.norm_eps: expected a positive number, got ", o.norm_eps);
  check(o.norm_min_channels >= 0, "model.norm_min_channels: expected 0 or more, got ",
        o.norm_min_channels);
  check(std::isfinite(o.residual_divisor) && o.residual_divisor > 0,
        "model.residual_divisor: expected a positive number, got ", o.residual_divisor);
  check(std::isfinite(o.mid_residual_divisor) && o.mid_residual_divisor >= 0,
        "model.mid_residual_divisor: expected 0 or more, got ", o.mid_residual_divisor);
  check(o.classes >= 0 && o.classes <= 1 << 20, "model.classes: expected 0 to 2^20, got ",
        o.classes);
  check_fourier_powers(o.fourier_features);
}

}  // namespace tweedie
