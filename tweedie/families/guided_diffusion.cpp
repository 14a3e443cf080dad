// UNetModel of improved-diffusion (improved_diffusion/unet.py) and guided-diffusion
// (guided_diffusion/unet.py): one list of blocks on the way down, one in the middle and one up,
// each a sequence of residual block, attention and what changes the size.
#include <algorithm>

#include "tweedie/base/fields.h"
#include "tweedie/families/family.h"
#include "tweedie/families/our_name.h"

namespace tweedie {
namespace {

struct GuidedConfig {
  std::string _class_name = "UNetModel";
  int64_t image_size = 0, sample_size = 0;
  int64_t in_channels = 3, model_channels = 128, out_channels = 3;
  int64_t num_res_blocks = 2;
  std::vector<int64_t> attention_resolutions = {};
  double dropout = 0;
  std::vector<double> channel_mult = {1, 2, 4, 8};
  bool conv_resample = true;
  int64_t dims = 2;
  int64_t num_classes = 0;
  bool use_checkpoint = false, use_fp16 = false;
  int64_t num_heads = 1, num_head_channels = -1, num_heads_upsample = -1;
  bool use_scale_shift_norm = false, resblock_updown = false, use_new_attention_order = false;
  // Of the process, as create_model_and_diffusion (script_util.py) names it.
  int64_t diffusion_steps = 1000;
  std::string noise_schedule = "linear";
  bool predict_xstart = false, rescale_timesteps = false;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("_class_name", _class_name, "");
    visit("image_size", image_size, "");
    visit("sample_size", sample_size, "");
    visit("in_channels", in_channels, "");
    visit("model_channels", model_channels, "");
    visit("out_channels", out_channels, "");
    visit("num_res_blocks", num_res_blocks, "");
    visit("attention_resolutions", attention_resolutions, "");
    visit("dropout", dropout, "");
    visit("channel_mult", channel_mult, "");
    visit("conv_resample", conv_resample, "");
    visit("dims", dims, "");
    visit("num_classes", num_classes, "");
    visit("use_checkpoint", use_checkpoint, "");
    visit("use_fp16", use_fp16, "");
    visit("num_heads", num_heads, "");
    visit("num_head_channels", num_head_channels, "");
    visit("num_heads_upsample", num_heads_upsample, "");
    visit("use_scale_shift_norm", use_scale_shift_norm, "");
    visit("resblock_updown", resblock_updown, "");
    visit("use_new_attention_order", use_new_attention_order, "");
    visit("diffusion_steps", diffusion_steps, "");
    visit("noise_schedule", noise_schedule, "");
    visit("predict_xstart", predict_xstart, "");
    visit("rescale_timesteps", rescale_timesteps, "");
  }
};

const std::map<std::string, std::string> kGuidedResnet = {
    {"norm1", "in_layers.0"},  {"conv1", "in_layers.2"},  {"time_emb_proj", "emb_layers.1"},
    {"norm2", "out_layers.0"}, {"conv2", "out_layers.3"}, {"conv_shortcut", "skip_connection"}};
const std::map<std::string, std::string> kGuidedAttention = {{"group_norm", "norm"},
                                                             {"to_q", "qkv"},
                                                             {"to_k", "qkv"},
                                                             {"to_v", "qkv"},
                                                             {"to_out.0", "proj_out"}};
const std::map<std::string, std::string> kOutside = {{"time_embedding.linear_1", "time_embed.0"},
                                                     {"time_embedding.linear_2", "time_embed.2"},
                                                     {"class_embedding", "label_emb"},
                                                     {"conv_in", "input_blocks.0.0"},
                                                     {"conv_norm_out", "out.0"},
                                                     {"conv_out", "out.2"}};

struct GuidedLayout {
  int64_t blocks;               // residual blocks of a stage on the way down
  std::vector<bool> attention;  // by stage
  std::vector<int64_t> heads;   // by stage
  QkvOrder order;
};

/// "input_blocks.4" and what is in it: the residual block, attention or what changes the size.
WeightPlace place_in_guided(const GuidedLayout& layout, const OurName& n, const std::string& ours) {
  const auto stages = static_cast<int64_t>(layout.attention.size());
  const bool down = n.way == "down_blocks", middle = n.way == "mid_block";
  const int64_t stage = middle ? stages - 1 : down ? n.stage : stages - 1 - n.stage;
  const bool attends = layout.attention[static_cast<size_t>(stage)];
  const int64_t each = layout.blocks + 1;
  const bool resamples = n.kind == "downsamplers" || n.kind == "upsamplers";
  std::string block;
  if (middle) {
    block = "middle_block." + std::to_string(n.kind == "attentions" ? 1 : 2 * n.number);
  } else if (down) {
    block = "input_blocks." +
            std::to_string(1 + n.stage * each + (resamples ? each - 1 : n.number)) +
            (n.kind == "attentions" ? ".1" : ".0");
  } else {
    block = "output_blocks." + std::to_string(n.stage * each + (resamples ? each - 1 : n.number)) +
            (n.kind == "attentions" ? ".1"
             : !resamples           ? ".0"
             : attends              ? ".2"
                                    : ".1");
  }
  WeightPlace place;
  if (n.kind == "attentions") {
    place.name = block + "." + renamed(kGuidedAttention, n.layer, ours) + "." + n.what;
    place.part = qkv_part(n.layer);
    place.order = layout.order;
    place.heads = layout.heads[static_cast<size_t>(stage)];
    place.ones = 1;
  } else if (n.layer == "conv") {
    place.name = block + (down ? ".op." : ".conv.") + n.what;
  } else {
    place.name = block + "." + renamed(kGuidedResnet, n.layer, ours) + "." + n.what;
  }
  return place;
}

}  // namespace

Family guided_unet(const Json& config) {
  const GuidedConfig c = from_json<GuidedConfig>(config, "UNetModel");
  check(c.dims == 2, "UNetModel: dims = ", c.dims, "; only images (2) are supported");
  check(c.conv_resample || c.resblock_updown,
        "UNetModel: conv_resample = false (pooling alone) is not supported");
  check(c.num_heads_upsample == -1 || c.num_heads_upsample == c.num_heads ||
            c.num_head_channels != -1,
        "UNetModel: num_heads_upsample = ", c.num_heads_upsample,
        " differs from num_heads; not supported");
  within(static_cast<int64_t>(c.channel_mult.size()), 1, 16, "UNetModel: length of channel_mult");
  within(c.in_channels, 1, 1 << 14, "UNetModel: in_channels");
  within(c.model_channels, 1, 1 << 14, "UNetModel: model_channels");
  within(c.num_res_blocks, 1, 1000, "UNetModel: num_res_blocks");
  within(c.num_heads, 1, 1 << 14, "UNetModel: num_heads");
  within(c.diffusion_steps, 1, 1000000, "UNetModel: diffusion_steps");
  check(c.noise_schedule == "linear" || c.noise_schedule == "cosine",
        "UNetModel: noise_schedule: expected linear or cosine, got '", c.noise_schedule, "'");
  check(c.num_head_channels == -1 || c.num_head_channels > 0,
        "UNetModel: num_head_channels: expected -1 or more than 0, got ", c.num_head_channels);
  const int64_t size = c.image_size > 0 ? c.image_size : c.sample_size;
  check(size > 0, "UNetModel: image_size is not given, nor sample_size");
  within(size, 1, 1 << 20, "UNetModel: image_size");

  GuidedLayout layout{
      c.num_res_blocks,
      {},
      {},
      c.use_new_attention_order ? QkvOrder::three_heads_width : QkvOrder::heads_three_width};
  std::vector<int64_t> attention, widths;
  for (size_t i = 0; i < c.channel_mult.size(); ++i) {
    const int64_t factor = int64_t{1} << i;
    check(c.channel_mult[i] > 0 && c.channel_mult[i] <= 1024,
          "UNetModel: channel_mult: expected numbers up to 1024, got ", c.channel_mult[i]);
    const auto width =
        static_cast<int64_t>(c.channel_mult[i] * static_cast<double>(c.model_channels));
    widths.push_back(width);
    layout.attention.push_back(std::find(c.attention_resolutions.begin(),
                                         c.attention_resolutions.end(),
                                         factor) != c.attention_resolutions.end());
    layout.heads.push_back(c.num_head_channels == -1 ? c.num_heads : width / c.num_head_channels);
    if (layout.attention.back()) attention.push_back((size + factor - 1) / factor);
  }

  Family out;
  out.name = "guided-diffusion UNetModel";
  out.shape = {c.in_channels, size, size};
  out.classes = c.num_classes;
  const char* const resampling = c.resblock_updown ? "resnet" : "conv";
  out.model = {
      {"network", "unet"},
      {"parameterisation", c.predict_xstart ? "x0" : "eps"},
      {"variance", c.out_channels == 2 * c.in_channels ? "learned" : "large"},
      {"channels", c.model_channels},
      {"widths", widths},
      {"first_width", widths[0]},  // improved-diffusion's is channels: equal in all it made
      {"layers_per_block", c.num_res_blocks},
      {"attention", attention},
      {"mid_attention_groups", -2},
      {"attention_head_dim", c.num_head_channels == -1 ? 0 : c.num_head_channels},
      {"attention_heads", c.num_head_channels == -1 ? c.num_heads : 0},
      {"dropout", c.dropout},
      {"resnet_time_scale_shift", c.use_scale_shift_norm ? "scale_shift" : "default"},
      {"down_resampling", {resampling}},
      {"up_resampling", {resampling}},
      {"null_class", false}};
  if (c.rescale_timesteps)
    out.model["parameterisation_options"] = {
        {"label_scale", 1000.0 / static_cast<double>(c.diffusion_steps)}};
  out.schedule = {{"name", c.noise_schedule}, {"steps", c.diffusion_steps}};
  out.sample = {{"sampler", "ddpm"}, {"steps", std::min<int64_t>(250, c.diffusion_steps)}};
  out.place = [layout](const std::string& ours) {
    const OurName n = parse_our_name(ours);
    if (!n.way.empty()) return place_in_guided(layout, n, ours);
    const std::string layer = n.layer.empty() ? n.kind : n.kind + "." + n.layer;
    return WeightPlace{renamed(kOutside, layer, ours) + "." + n.what};
  };
  return out;
}

}  // namespace tweedie
