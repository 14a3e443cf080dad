// What a U-Net is made of, as a recipe or a file of weights says it.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/fields.h"

namespace tweedie {

/// The defaults are DDPM's with diffusers' conventions.  What follows `kernels` is for the networks
/// of score SDE, EDM and guided diffusion, and for files made by others (tweedie/families).
struct UnetOptions {
  int64_t channels = 64;
  std::vector<int64_t> multipliers = {1, 2, 2};
  int64_t layers_per_block = 2;
  std::vector<int64_t> attention = {};
  bool mid_attention = true;
  int64_t attention_head_dim = 8;
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  double dropout = 0;
  std::string resnet_time_scale_shift = "default";
  int64_t downsample_padding = 1;
  bool flip_sin_to_cos = true;
  double freq_shift = 0;
  std::vector<int64_t> fourier_features = {};
  bool zero_init = true;
  std::string kernels = "fast";

  std::vector<int64_t> widths = {};
  int64_t first_width = 0;
  int64_t attention_heads = 0;
  std::vector<int64_t> attention_up = {-1};
  bool attention_up_once = false;
  int64_t attention_groups = 0;
  int64_t mid_attention_groups = -1;
  int64_t norm_min_channels = 0;
  bool wide_up_groups = false;
  std::vector<std::string> down_resampling = {"conv"};
  std::vector<std::string> up_resampling = {"conv"};
  std::vector<double> resample_filter = {1, 1};
  bool resample_shortcut = false;
  std::string encoder = "standard";
  std::string decoder = "standard";
  double residual_divisor = 1;
  double mid_residual_divisor = 0;
  std::string activation = "silu";
  std::string time_embedding = "positional";
  int64_t time_features = 0;
  int64_t time_channels = 0;
  int64_t time_steps = 0;
  bool time_logarithm = false;
  bool over_time = false;
  bool center_input = false;
  std::string class_embedding = "table";
  bool null_class = true;
  int64_t augmentations = 0;

  std::vector<int64_t> sample_shape = {};
  int64_t classes = 0;
  int64_t out_channels = 0;
  bool learned_variance = false;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("channels", channels, "of the first stage");
    visit("multipliers", multipliers,
          "channels of each stage over those of the first; the size halves between stages");
    visit("layers_per_block", layers_per_block,
          "residual blocks of a stage on the way down (one more on the way up)");
    visit(
        "attention", attention,
        "stages with attention, by their height in pixels; a height that no stage has is ignored");
    visit("mid_attention", mid_attention, "attention between the way down and the way up");
    visit("attention_head_dim", attention_head_dim, "channels of a head of attention; 0: one head");
    visit("norm_num_groups", norm_num_groups, "groups of every norm");
    visit("norm_eps", norm_eps, "added to the variance in every norm");
    visit("dropout", dropout, "rate of dropout in training");
    visit("resnet_time_scale_shift", resnet_time_scale_shift,
          "default (time is added) or scale_shift");
    visit("downsample_padding", downsample_padding, "1: on all sides; 0: right and below (DDPM)");
    visit("flip_sin_to_cos", flip_sin_to_cos, "time embedding: cosines first");
    visit("freq_shift", freq_shift, "time embedding: 0, or 1 as in DDPM");
    visit("fourier_features", fourier_features,
          "powers n: the input also as sin, cos(2^n pi x), for likelihood");
    visit("zero_init", zero_init, "residual branches and the output start at zero (DDPM)");
    visit("kernels", kernels,
          "fast: our own where they are faster; reference: LibTorch's alone; images: our own in "
          "bf16, fast or not");

    visit("widths", widths, "channels of each stage, instead of multipliers");
    visit("first_width", first_width, "channels of the first convolution; 0: as channels");
    visit("attention_heads", attention_heads, "heads of attention, instead of attention_head_dim");
    visit("attention_up", attention_up,
          "stages with attention on the way up; -1: those of the way down");
    visit("attention_up_once", attention_up_once,
          "on the way up only after a stage's last residual block (score SDE)");
    visit("attention_groups", attention_groups, "groups of attention's norms; 0: as elsewhere");
    visit("mid_attention_groups", mid_attention_groups,
          "the same in the middle; 0: no norm, -1: none where time scales and shifts (diffusers), "
          "-2: as elsewhere");
    visit(
        "norm_min_channels", norm_min_channels,
        "channels of a group at least: fewer groups where there are few channels (EDM: 4); 0: any");
    visit("wide_up_groups", wide_up_groups,
          "stages with attention on the way up count skipped channels only a quarter when they "
          "choose groups (a slip in diffusers)");
    visit("down_resampling", down_resampling,
          "what halves the size: conv, or resnet (BigGAN); for all stages or each");
    visit("up_resampling", up_resampling, "what doubles it: conv or resnet");
    visit("resample_filter", resample_filter,
          "filter of resnets that change the size: [1, 1], or [1, 3, 3, 1] as in NCSN++");
    visit("resample_shortcut", resample_shortcut, "a convolution in their shortcut");
    visit("encoder", encoder,
          "standard; skip, residual: the halved input comes in at every size (NCSN++)");
    visit("decoder", decoder, "standard; skip: every size gives a part of the output (NCSN++)");
    visit("residual_divisor", residual_divisor,
          "sums with a residual are divided by it: 1, or 1.4142135623730951 (score SDE)");
    visit("mid_residual_divisor", mid_residual_divisor, "the same in the middle; 0: the same");
    visit("activation", activation, "silu, mish, gelu or relu, in residual blocks");
    visit("time_embedding", time_embedding,
          "positional, fourier (random frequencies) or learned (a row for each step)");
    visit("time_features", time_features, "what the time is turned into; 0: as channels");
    visit("time_channels", time_channels, "of the time embedding; 0: four times channels");
    visit("time_steps", time_steps, "rows of a learned time embedding");
    visit("time_logarithm", time_logarithm, "time embedding: of the logarithm (with fourier)");
    visit("over_time", over_time, "the output is divided by what the network is told of the level");
    visit("center_input", center_input, "the input is 2 x - 1 (of data in [0, 1])");
    visit("class_embedding", class_embedding,
          "table; linear, or linear-features where it joins the time's features (EDM); timestep, "
          "identity (diffusers)");
    visit("null_class", null_class, "whether there is a class that means none, for guidance");
    visit("augmentations", augmentations, "labels of augmentation that it can be told (EDM)");

    visit("sample_shape", sample_shape, "[C, H, W], known from the data");
    visit("classes", classes, "number of classes, known from the data; 0: unconditional");
    visit("out_channels", out_channels, "0: as the data, twice with a learned variance");
    visit("learned_variance", learned_variance,
          "twice the output channels, known from model.variance");
  }

  int64_t stages() const {
    return static_cast<int64_t>(widths.empty() ? multipliers.size() : widths.size());
  }
  /// Channels of a stage, the first on the way down is 0.
  int64_t width(int64_t stage) const {
    const auto i = static_cast<size_t>(stage);
    return widths.empty() ? channels * multipliers[i] : widths[i];
  }
  /// Height of a stage's images; the length of series, which have one row.
  int64_t height(int64_t stage) const;
  bool attends_down(int64_t stage) const;
  bool attends_up(int64_t stage) const;
  /// Whether a residual block changes the size between this stage and the one below it.
  bool resnet_down(int64_t stage) const;
  bool resnet_up(int64_t stage) const;
  /// Groups of a norm of so many channels.
  int64_t groups(int64_t of_channels) const;
  int64_t out() const;
};

/// Throws Error, naming the option, on what no network can be made of.
void check_unet_options(const UnetOptions& options);

}  // namespace tweedie
