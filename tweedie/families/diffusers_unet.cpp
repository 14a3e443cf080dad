// UNet2DModel of diffusers (models/unets/unet_2d.py).  Our U-Net has its names, so that files
// differ in old names of attention alone.
#include <algorithm>
#include <cmath>

#include "tweedie/base/fields.h"
#include "tweedie/families/family.h"
#include "tweedie/families/our_name.h"
#include "tweedie/nets/unet_options.h"

namespace tweedie {
namespace {

struct DiffusersConfig {
  std::string _class_name = "UNet2DModel", _diffusers_version = "", _name_or_path = "";
  Json sample_size = nullptr;
  int64_t in_channels = 3, out_channels = 3;
  bool center_input_sample = false;
  std::string time_embedding_type = "positional";
  Json time_embedding_dim = nullptr;
  double freq_shift = 0;
  bool flip_sin_to_cos = true;
  std::vector<std::string> down_block_types = {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D",
                                               "AttnDownBlock2D"};
  Json mid_block_type = "UNetMidBlock2D";
  std::vector<std::string> up_block_types = {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D",
                                             "UpBlock2D"};
  std::vector<int64_t> block_out_channels = {224, 448, 672, 896};
  int64_t layers_per_block = 2;
  double mid_block_scale_factor = 1;
  int64_t downsample_padding = 1;
  std::string downsample_type = "conv", upsample_type = "conv";
  double dropout = 0;
  std::string act_fn = "silu";
  Json attention_head_dim = 8;
  Json norm_num_groups = 32;
  Json attn_norm_num_groups = nullptr;
  double norm_eps = 1e-5;
  std::string resnet_time_scale_shift = "default";
  bool add_attention = true;
  Json class_embed_type = nullptr, num_class_embeds = nullptr, num_train_timesteps = nullptr;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("_class_name", _class_name, "");
    visit("_diffusers_version", _diffusers_version, "");
    visit("_name_or_path", _name_or_path, "");
    visit("sample_size", sample_size, "");
    visit("in_channels", in_channels, "");
    visit("out_channels", out_channels, "");
    visit("center_input_sample", center_input_sample, "");
    visit("time_embedding_type", time_embedding_type, "");
    visit("time_embedding_dim", time_embedding_dim, "");
    visit("freq_shift", freq_shift, "");
    visit("flip_sin_to_cos", flip_sin_to_cos, "");
    visit("down_block_types", down_block_types, "");
    visit("mid_block_type", mid_block_type, "");
    visit("up_block_types", up_block_types, "");
    visit("block_out_channels", block_out_channels, "");
    visit("layers_per_block", layers_per_block, "");
    visit("mid_block_scale_factor", mid_block_scale_factor, "");
    visit("downsample_padding", downsample_padding, "");
    visit("downsample_type", downsample_type, "");
    visit("upsample_type", upsample_type, "");
    visit("dropout", dropout, "");
    visit("act_fn", act_fn, "");
    visit("attention_head_dim", attention_head_dim, "");
    visit("norm_num_groups", norm_num_groups, "");
    visit("attn_norm_num_groups", attn_norm_num_groups, "");
    visit("norm_eps", norm_eps, "");
    visit("resnet_time_scale_shift", resnet_time_scale_shift, "");
    visit("add_attention", add_attention, "");
    visit("class_embed_type", class_embed_type, "");
    visit("num_class_embeds", num_class_embeds, "");
    visit("num_train_timesteps", num_train_timesteps, "");
  }

  int64_t stages() const { return static_cast<int64_t>(block_out_channels.size()); }
};

int64_t whole(const Json& value, const char* name, int64_t where_null) {
  if (value.is_null()) return where_null;
  check(is_whole(value), "UNet2DModel: ", name, ": expected a whole number or null, got ",
        value.dump().substr(0, 60));
  return value.get<int64_t>();
}

std::vector<int64_t> sizes_of_sample(const DiffusersConfig& c) {
  check(!c.sample_size.is_null(), "UNet2DModel: sample_size is null; write the images' size there");
  if (!c.sample_size.is_array()) {
    const int64_t size = whole(c.sample_size, "sample_size", 0);
    return {c.in_channels, size, size};
  }
  check(c.sample_size.size() == 2, "UNet2DModel: sample_size: expected two numbers, got ",
        c.sample_size.dump().substr(0, 60));
  return {c.in_channels, whole(c.sample_size[0], "sample_size", 0),
          whole(c.sample_size[1], "sample_size", 0)};
}

std::vector<int64_t> sample_shape(const DiffusersConfig& c) {
  const std::vector<int64_t> out = sizes_of_sample(c);
  for (const int64_t size : out) within(size, 1, 1 << 20, "UNet2DModel: sample_size");
  return out;
}

/// One kind of block, by its name without "Down" or "Up".
struct BlockKind {
  bool attends, skips, resnet;  // resnet: a residual block changes the size
};

BlockKind block_kind(std::string name, bool down, const DiffusersConfig& c) {
  if (name.starts_with("UNetRes")) name = name.substr(7);
  const std::string way = down ? "Down" : "Up", resample = down ? "Downsample" : "Upsample";
  const std::string& type = down ? c.downsample_type : c.upsample_type;
  if (name == way + "Block2D") return {false, false, false};
  if (name == "Resnet" + resample + "Block2D") return {false, false, true};
  if (name == "Attn" + way + "Block2D") return {true, false, type == "resnet"};
  if (name == "Skip" + way + "Block2D") return {false, true, true};
  if (name == "AttnSkip" + way + "Block2D") return {true, true, true};
  throw Error("UNet2DModel: the block '" + name + "' is not supported; known: " + way +
              "Block2D, Attn" + way + "Block2D, Resnet" + resample + "Block2D, Skip" + way +
              "Block2D, AttnSkip" + way + "Block2D");
}

void add_blocks(const DiffusersConfig& c, const std::vector<int64_t>& shape, Json& model) {
  const auto stages = static_cast<size_t>(c.stages());
  check(stages >= 1 && c.down_block_types.size() == stages && c.up_block_types.size() == stages,
        "UNet2DModel: block_out_channels, down_block_types and up_block_types differ in length");
  std::vector<int64_t> attention, attention_up;
  std::vector<std::string> down, up;
  size_t skips = 0;
  int64_t height = shape[1] == 1 ? shape[2] : shape[1];  // as UnetOptions::height
  for (size_t i = 0; i < stages; ++i) {
    const BlockKind below = block_kind(c.down_block_types[i], true, c);
    const BlockKind above = block_kind(c.up_block_types[stages - 1 - i], false, c);
    if (below.attends) attention.push_back(height);
    if (above.attends) attention_up.push_back(height);
    if (i + 1 < stages) down.push_back(below.resnet ? "resnet" : "conv");
    if (i > 0) up.insert(up.begin(), above.resnet ? "resnet" : "conv");
    skips += static_cast<size_t>(below.skips) + static_cast<size_t>(above.skips);
    height = c.downsample_padding == 0 && !below.resnet ? height / 2 : (height + 1) / 2;
  }
  check(skips == 0 || skips == 2 * stages,
        "UNet2DModel: Skip blocks beside others are not supported; use them everywhere or nowhere");
  model["attention"] = attention;
  model["attention_up"] = attention_up;
  if (stages > 1) {
    model["down_resampling"] = down;
    model["up_resampling"] = up;
  }
  if (skips == 0) return;
  // Skip blocks choose their groups, what is outside them follows the configuration: ours has one
  // rule.
  for (const int64_t width : {c.block_out_channels.front(), c.block_out_channels.back()})
    check(c.norm_num_groups.is_null() || c.norm_num_groups == std::min<int64_t>(width / 4, 32),
          "UNet2DModel: norm_num_groups ", c.norm_num_groups.dump(), " with Skip blocks of ", width,
          " channels is not supported; expected null or ", std::min<int64_t>(width / 4, 32));
  model.update({{"encoder", "skip"},
                {"decoder", "skip"},
                {"attention_up_once", true},
                {"attention_groups", 32},
                {"norm_num_groups", 32},
                {"norm_min_channels", 4},
                {"wide_up_groups", true},
                {"resample_filter", {1, 3, 3, 1}},
                {"resample_shortcut", true},
                {"residual_divisor", std::sqrt(2.0)},
                {"mid_residual_divisor", c.mid_block_scale_factor}});
}

void add_time(const DiffusersConfig& c, Json& model) {
  const int64_t first = c.block_out_channels.at(0);
  model["time_embedding"] = c.time_embedding_type;
  model["time_channels"] = whole(c.time_embedding_dim, "time_embedding_dim", 4 * first);
  model["time_features"] = c.time_embedding_type == "fourier" ? 2 * first : first;
  model["flip_sin_to_cos"] = c.flip_sin_to_cos;
  model["freq_shift"] = c.freq_shift;
  if (c.time_embedding_type == "fourier") {
    // Told the noise itself, it takes the logarithm; and what comes out is divided by it.
    model["time_logarithm"] = true;
    model["over_time"] = true;
    model["flip_sin_to_cos"] = false;
  }
  if (c.time_embedding_type == "learned")
    model["time_steps"] = whole(c.num_train_timesteps, "num_train_timesteps", 0);
}

/// Until 0.12 attention's layers had other names.
std::string modern_name(std::string name) {
  for (const auto& [old, now] : {std::pair{".query.", ".to_q."},
                                 {".key.", ".to_k."},
                                 {".value.", ".to_v."},
                                 {".proj_attn.", ".to_out.0."}})
    if (const size_t at = name.find(old); at != std::string::npos)
      name.replace(at, std::string(old).size(), now);
  return name;
}

}  // namespace

Family diffusers_unet(const Json& config) {
  const DiffusersConfig c = from_json<DiffusersConfig>(config, "UNet2DModel");
  within(c.stages(), 1, 16, "UNet2DModel: length of block_out_channels");
  for (const int64_t width : c.block_out_channels)
    within(width, 1, 1 << 14, "UNet2DModel: block_out_channels");
  within(c.in_channels, 1, 1 << 14, "UNet2DModel: in_channels");
  within(c.out_channels, 1, 1 << 14, "UNet2DModel: out_channels");
  Family out;
  out.name = "diffusers UNet2DModel";
  out.shape = sample_shape(c);
  check(c.mid_block_type == "UNetMidBlock2D", "UNet2DModel: mid_block_type ",
        c.mid_block_type.dump().substr(0, 60), " is not supported; known: UNetMidBlock2D");
  check(c.resnet_time_scale_shift == "default" || c.resnet_time_scale_shift == "scale_shift",
        "UNet2DModel: resnet_time_scale_shift '", c.resnet_time_scale_shift,
        "' is not supported; known: default, scale_shift");
  const std::string embed =
      c.class_embed_type.is_string() ? c.class_embed_type.get<std::string>() : "table";
  out.classes = embed == "table" ? whole(c.num_class_embeds, "num_class_embeds", 0) : 0;
  out.model = {{"network", "unet"},
               {"parameterisation", "eps"},
               {"variance", c.out_channels == 2 * c.in_channels ? "learned" : "large"},
               {"channels", c.block_out_channels.at(0)},
               {"widths", c.block_out_channels},
               {"layers_per_block", c.layers_per_block},
               {"mid_attention", c.add_attention},
               {"attention_head_dim", whole(c.attention_head_dim, "attention_head_dim", 0)},
               {"norm_num_groups", whole(c.norm_num_groups, "norm_num_groups", 32)},
               {"norm_eps", c.norm_eps},
               {"dropout", c.dropout},
               {"resnet_time_scale_shift", c.resnet_time_scale_shift},
               {"downsample_padding", c.downsample_padding},
               {"activation", c.act_fn == "swish" ? "silu" : c.act_fn},
               {"center_input", c.center_input_sample},
               {"class_embedding", embed},
               {"null_class", false},
               {"mid_residual_divisor", c.mid_block_scale_factor},
               {"mid_attention_groups", whole(c.attn_norm_num_groups, "attn_norm_num_groups", -1)}};
  if (c.out_channels != c.in_channels) out.model["out_channels"] = c.out_channels;
  add_blocks(c, out.shape, out.model);
  add_time(c, out.model);
  out.schedule = {{"name", "linear"}};
  out.sample = {{"sampler", "ddim"}, {"steps", 50}};
  if (c.time_embedding_type == "fourier") {  // score SDE's process, of data in [0, 1]
    out.model["parameterisation"] = "ve-score";
    out.schedule = {{"name", "ve"}, {"sigma_min", 0.01}, {"sigma_max", 50.0}};
    out.sample = {{"sampler", "heun"}, {"steps", 50}, {"path", "karras"}};
  }
  out.place = [](const std::string& ours) { return WeightPlace{ours}; };
  out.modern = modern_name;
  return out;
}

Json write_diffusers_unet(const Json& options, const std::string& version) {
  const UnetOptions o = from_json<UnetOptions>(options, "model");
  const UnetOptions plain;
  const auto must_be = [&](const char* name, bool holds) {
    check(holds, "export: diffusers' UNet2DModel has no counterpart of model.", name, " = ",
          options.value(name, Json()).dump());
  };
  must_be("down_resampling", o.down_resampling == plain.down_resampling);
  must_be("up_resampling", o.up_resampling == plain.up_resampling);
  must_be("encoder", o.encoder == plain.encoder && o.decoder == plain.decoder);
  must_be("attention_up_once", !o.attention_up_once);
  must_be("attention_groups", o.attention_groups == 0);
  must_be("norm_min_channels", o.norm_min_channels == 0 && !o.wide_up_groups);
  must_be("residual_divisor", o.residual_divisor == 1);
  must_be("time_embedding", o.time_embedding == "positional" && !o.over_time);
  must_be("time_features", o.time_features == 0 || o.time_features == o.width(0));
  must_be("class_embedding", o.class_embedding == "table");
  must_be("augmentations", o.augmentations == 0);
  must_be("first_width", o.first_width == 0 || o.first_width == o.width(0));
  must_be("channels", o.channels == o.width(0));
  must_be("attention_heads", o.attention_heads == 0);
  must_be("mid_attention_groups", o.mid_attention_groups != 0);
  const int64_t factor = int64_t{1} << (o.stages() - 1);
  check(o.sample_shape.at(1) % factor == 0 && o.sample_shape.at(2) % factor == 0,
        "export: diffusers' UNet2DModel doubles exactly what it has halved: ", o.stages(),
        " stages need sizes that ", factor, " divides, not ", o.sample_shape[1], " x ",
        o.sample_shape[2]);
  std::vector<std::string> down, up;
  std::vector<int64_t> widths;
  for (int64_t i = 0; i < o.stages(); ++i) {
    widths.push_back(o.width(i));
    down.push_back(o.attends_down(i) ? "AttnDownBlock2D" : "DownBlock2D");
    up.insert(up.begin(), o.attends_up(i) ? "AttnUpBlock2D" : "UpBlock2D");
  }
  Json attention_groups;  // null: the library's own rule
  if (o.mid_attention_groups > 0) attention_groups = o.mid_attention_groups;
  if (o.mid_attention_groups == -2 && o.resnet_time_scale_shift == "scale_shift")
    attention_groups = o.norm_num_groups;
  return {{"_class_name", "UNet2DModel"},
          {"_diffusers_version", version},
          {"act_fn", o.activation},
          {"add_attention", o.mid_attention},
          {"attention_head_dim", o.attention_head_dim == 0 ? Json() : Json(o.attention_head_dim)},
          {"attn_norm_num_groups", attention_groups},
          {"block_out_channels", widths},
          {"center_input_sample", o.center_input},
          {"class_embed_type", nullptr},
          {"down_block_types", down},
          {"downsample_padding", o.downsample_padding},
          {"downsample_type", "conv"},
          {"dropout", o.dropout},
          {"flip_sin_to_cos", o.flip_sin_to_cos},
          {"freq_shift", o.freq_shift},
          {"in_channels", o.sample_shape.at(0)},
          {"layers_per_block", o.layers_per_block},
          {"mid_block_scale_factor", o.mid_residual_divisor == 0 ? 1 : o.mid_residual_divisor},
          {"norm_eps", o.norm_eps},
          {"norm_num_groups", o.norm_num_groups},
          {"num_class_embeds", o.classes == 0 ? Json() : Json(o.classes + (o.null_class ? 1 : 0))},
          {"out_channels", o.out()},
          {"resnet_time_scale_shift", o.resnet_time_scale_shift},
          {"sample_size", {o.sample_shape.at(1), o.sample_shape.at(2)}},
          {"time_embedding_dim", o.time_channels == 0 ? Json() : Json(o.time_channels)},
          {"time_embedding_type", "positional"},
          {"up_block_types", up},
          {"upsample_type", "conv"}};
}

}  // namespace tweedie
