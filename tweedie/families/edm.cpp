// EDM's networks (training/networks.py): SongUNet, which is DDPM++ and NCSN++ of score SDE, and
// DhariwalUNet, which is ADM; under one of four preconditioners.  Blocks are named by the size of
// their images: enc.32x32_block0, dec.16x16_up, ...
#include <cmath>

#include "tweedie/base/fields.h"
#include "tweedie/families/family.h"
#include "tweedie/families/our_name.h"
#include "tweedie/process/path.h"

namespace tweedie {
namespace {

struct EdmConfig {
  std::string _class_name = "EDMPrecond", model_type = "DhariwalUNet";
  int64_t img_resolution = 0, img_channels = 3, label_dim = 0;
  bool use_fp16 = false;
  double sigma_min = 0, sigma_max = 0, sigma_data = 0.5;
  // of the network
  int64_t augment_dim = 0, model_channels = 0;
  std::vector<int64_t> channel_mult = {}, attn_resolutions = {};
  int64_t channel_mult_emb = 4, num_blocks = 0;
  double dropout = 0.1, label_dropout = 0;
  std::string embedding_type = "positional", encoder_type = "standard", decoder_type = "standard";
  int64_t channel_mult_noise = 1;
  std::vector<double> resample_filter = {1, 1};
  template <class Visit>
  void fields(Visit&& visit) {
    visit("_class_name", _class_name, "");
    visit("model_type", model_type, "");
    visit("img_resolution", img_resolution, "");
    visit("img_channels", img_channels, "");
    visit("label_dim", label_dim, "");
    visit("use_fp16", use_fp16, "");
    visit("sigma_min", sigma_min, "");
    visit("sigma_max", sigma_max, "");
    visit("sigma_data", sigma_data, "");
    visit("augment_dim", augment_dim, "");
    visit("model_channels", model_channels, "");
    visit("channel_mult", channel_mult, "");
    visit("attn_resolutions", attn_resolutions, "");
    visit("channel_mult_emb", channel_mult_emb, "");
    visit("num_blocks", num_blocks, "");
    visit("dropout", dropout, "");
    visit("label_dropout", label_dropout, "");
    visit("embedding_type", embedding_type, "");
    visit("encoder_type", encoder_type, "");
    visit("decoder_type", decoder_type, "");
    visit("channel_mult_noise", channel_mult_noise, "");
    visit("resample_filter", resample_filter, "");
  }
};

constexpr int64_t kHeadWidth = 64;  // of DhariwalUNet's attention

const std::map<std::string, std::string> kEdmResnet = {
    {"norm1", "norm0"}, {"conv1", "conv0"}, {"time_emb_proj", "affine"},
    {"norm2", "norm1"}, {"conv2", "conv1"}, {"conv_shortcut", "skip"}};
const std::map<std::string, std::string> kEdmAttention = {{"group_norm", "norm2"},
                                                          {"to_q", "qkv"},
                                                          {"to_k", "qkv"},
                                                          {"to_v", "qkv"},
                                                          {"to_out.0", "proj"}};

/// The defaults of the network's class, where the configuration leaves them.
EdmConfig complete(EdmConfig c) {
  const bool song = c.model_type == "SongUNet";
  check(song || c.model_type == "DhariwalUNet", c._class_name, ": model_type '", c.model_type,
        "' is unknown; expected SongUNet or DhariwalUNet");
  check(c.img_resolution > 0, c._class_name, ": img_resolution is not given");
  within(c.img_resolution, 1, 1 << 20, "img_resolution");
  within(c.img_channels, 1, 1 << 14, "img_channels");
  within(c.model_channels, 0, 1 << 14, "model_channels");
  within(static_cast<int64_t>(c.channel_mult.size()), 0, 16, "length of channel_mult");
  for (const int64_t mult : c.channel_mult) within(mult, 1, 1024, "channel_mult");
  within(c.channel_mult_emb, 1, 1024, "channel_mult_emb");
  within(c.channel_mult_noise, 1, 1024, "channel_mult_noise");
  within(c.num_blocks, 0, 1000, "num_blocks");
  within(static_cast<int64_t>(c.resample_filter.size()), 1, 16, "length of resample_filter");
  if (c.model_channels == 0) c.model_channels = song ? 128 : 192;
  if (c.channel_mult.empty())
    c.channel_mult = song ? std::vector<int64_t>{1, 2, 2, 2} : std::vector<int64_t>{1, 2, 3, 4};
  if (c.num_blocks == 0) c.num_blocks = song ? 4 : 3;
  check(c.embedding_type == "positional" || c.embedding_type == "fourier", c._class_name,
        ": embedding_type '", c.embedding_type, "' is unknown");
  return c;
}

struct EdmLayout {
  bool song;
  int64_t resolution, stages, blocks;
  std::vector<int64_t> heads;  // by stage; 0 where none
  std::string encoder;

  std::string size(int64_t stage) const {
    const std::string side = std::to_string(resolution >> stage);
    return side + "x" + side;
  }
};

WeightPlace place_in_edm(const EdmLayout& layout, const OurName& n, const std::string& ours) {
  const bool down = n.way == "down_blocks", middle = n.way == "mid_block";
  const int64_t last = layout.stages - 1;
  const int64_t stage = middle ? last : down ? n.stage : last - n.stage;
  const int64_t next = down ? stage + 1 : stage - 1;  // the one that a change of size leads to
  const std::string side = down ? "model.enc." : "model.dec.";
  const auto block = [&](int64_t number) {
    return side + layout.size(stage) + (middle ? "_in" : "_block") + std::to_string(number) + ".";
  };
  if (n.kind == "resnets")
    return {block(n.number) + renamed(kEdmResnet, n.layer, ours) + "." + n.what};
  if (n.kind == "attentions") {
    // On the way up SongUNet has attention after the last block alone.
    const bool once = layout.song && !down && !middle;
    return {block(once ? layout.blocks : n.number) + renamed(kEdmAttention, n.layer, ours) + "." +
                n.what,
            qkv_part(n.layer), QkvOrder::heads_width_three,
            layout.heads[static_cast<size_t>(stage)], 2};
  }
  if (n.kind == "skip_norm") return {side + layout.size(stage) + "_aux_norm." + n.what};
  if (n.kind == "skip_conv")
    return {side +
            (down ? layout.size(next) + (layout.encoder == "skip" ? "_aux_skip." : "_aux_residual.")
                  : layout.size(stage) + "_aux_conv.") +
            n.what};
  return {side + layout.size(next) + (down ? "_down." : "_up.") +
          renamed(kEdmResnet, n.layer, ours) + "." + n.what};
}

WeightPlace place_outside(const EdmLayout& layout, const OurName& n, const std::string& ours) {
  const std::string size = layout.size(0),
                    layer = n.layer.empty() ? n.kind : n.kind + "." + n.layer;
  if (ours == "time_proj.weight") return {"model.map_noise.freqs"};
  const std::map<std::string, std::string> names = {
      {"time_embedding.linear_1", "map_layer0"},
      {"time_embedding.linear_2", "map_layer1"},
      {"class_embedding", "map_label"},
      {"augmentation", "map_augment"},
      {"conv_in", "enc." + size + "_conv"},
      {"conv_norm_out", layout.song ? "dec." + size + "_aux_norm" : "out_norm"},
      {"conv_out", layout.song ? "dec." + size + "_aux_conv" : "out_conv"}};
  return {"model." + renamed(names, layer, ours) + "." + n.what};
}

/// How the network's output is understood, and where its process ends.
void add_process(const EdmConfig& c, Family& out) {
  double least = 0.002, most = 80;
  if (c._class_name == "EDMPrecond") {
    out.model["parameterisation"] = "edm";
    out.model["parameterisation_options"] = {{"sigma_data", c.sigma_data}};
  } else if (c._class_name == "VEPrecond") {
    out.model["parameterisation"] = "ve";
    least = 0.02;
  } else if (c._class_name == "VPPrecond") {
    out.model["parameterisation"] = "vp";
    const Schedule vp = vp_linear(0.1, 20, 1e-5);
    least = std::exp(-0.5 * log_snr(vp.at(1e-3)));
  } else {
    check(c._class_name == "iDDPMPrecond", "EDM's preconditioner '", c._class_name, "' is unknown");
    out.model["parameterisation"] = "iddpm";
    least = 0.0064;
    out.model["out_channels"] = 2 * c.img_channels;  // of which the second half is not used
  }
  if (c.sigma_min > 0) least = std::max(least, c.sigma_min);
  if (c.sigma_max > 0) most = std::min(most, c.sigma_max);
  out.schedule = {{"name", "edm"}, {"sigma_min", least}, {"sigma_max", most}};
  out.sample = {{"sampler", "heun"}, {"steps", 18}, {"path", "karras"}};
}

void add_network(const EdmConfig& c, const std::vector<int64_t>& attention, bool mid_attention,
                 Family& out) {
  const bool song = c.model_type == "SongUNet";
  const std::vector<const char*> resnet = {"resnet"};
  out.model.update({{"channels", c.model_channels},
                    {"multipliers", c.channel_mult},
                    {"first_width", song ? c.model_channels : c.channel_mult[0] * c.model_channels},
                    {"layers_per_block", c.num_blocks},
                    {"attention", attention},
                    {"attention_up_once", song},
                    {"attention_head_dim", song ? 0 : kHeadWidth},
                    {"mid_attention", mid_attention},
                    {"mid_attention_groups", -2},
                    {"norm_min_channels", 4},
                    {"norm_eps", song ? 1e-6 : 1e-5},
                    {"dropout", c.dropout},
                    {"resnet_time_scale_shift", song ? "default" : "scale_shift"},
                    {"down_resampling", resnet},
                    {"up_resampling", resnet},
                    {"time_channels", c.channel_mult_emb * c.model_channels},
                    {"flip_sin_to_cos", !song},
                    {"freq_shift", song ? 1.0 : 0.0},
                    {"class_embedding", song ? "linear-features" : "linear"},
                    {"augmentations", c.augment_dim}});
  if (!song) return;
  out.model.update({{"residual_divisor", std::sqrt(2.0)},
                    {"resample_filter", c.resample_filter},
                    {"resample_shortcut", true},
                    {"encoder", c.encoder_type},
                    {"decoder", c.decoder_type},
                    {"time_embedding", c.embedding_type},
                    {"time_features", c.channel_mult_noise * c.model_channels}});
}

at::Tensor filter_of(const std::vector<double>& taps) {
  const at::Tensor f = at::tensor(taps, at::kDouble);
  return (at::outer(f, f) / f.sum().square()).unsqueeze(0).unsqueeze(0);
}

/// sigma / alpha of the cosine chain's steps, the last first.
at::Tensor iddpm_table() {
  const Schedule chain = cosine_chain(1000);
  std::vector<double> sigmas;
  for (int64_t i = 1000; i >= 1; --i)
    sigmas.push_back(std::exp(-0.5 * log_snr(chain.at(static_cast<double>(i) / 1000))));
  sigmas.push_back(0);
  return at::tensor(sigmas, at::kDouble);
}

/// Filters, kept beside the weights of every layer that changes the size, and a table of levels.
void add_constants(const EdmConfig& c, const EdmLayout& layout, Family& out) {
  const std::vector<double> taps = layout.song ? c.resample_filter : std::vector<double>{1, 1};
  const auto add = [&](const std::string& layer) {
    out.constants["model." + layer + ".resample_filter"] = [taps] { return filter_of(taps); };
  };
  for (int64_t i = 1; i < layout.stages; ++i) {
    const std::string below = "enc." + layout.size(i), above = "dec." + layout.size(i - 1);
    for (const char* layer : {".conv0", ".skip"}) {
      add(below + "_down" + layer);
      add(above + "_up" + layer);
    }
    if (c.encoder_type == "skip") add(below + "_aux_down");
    if (c.encoder_type == "residual") add(below + "_aux_residual");
    if (c.decoder_type == "skip") add(above + "_aux_up");
  }
  if (c._class_name == "iDDPMPrecond") out.constants["u"] = iddpm_table;
}

}  // namespace

Family edm_network(const Json& config) {
  const EdmConfig c = complete(from_json<EdmConfig>(config, "config.json"));
  const bool song = c.model_type == "SongUNet";
  EdmLayout layout{
      song, c.img_resolution, static_cast<int64_t>(c.channel_mult.size()), c.num_blocks,
      {},   c.encoder_type};
  std::vector<int64_t> attention;
  for (int64_t i = 0; i < layout.stages; ++i) {
    const int64_t height = c.img_resolution >> i;
    const int64_t width = c.channel_mult[static_cast<size_t>(i)] * c.model_channels;
    // DhariwalUNet has no attention where there are fewer channels than in one head.
    layout.heads.push_back(song ? 1 : width / kHeadWidth);
    if (layout.heads.back() > 0 && std::find(c.attn_resolutions.begin(), c.attn_resolutions.end(),
                                             height) != c.attn_resolutions.end())
      attention.push_back(height);
  }
  Family out;
  out.name = "EDM " + c._class_name + " over " + c.model_type;
  out.shape = {c.img_channels, c.img_resolution, c.img_resolution};
  out.classes = c.label_dim;
  out.model = {{"network", "unet"}, {"variance", "small"}};
  add_network(c, attention, layout.heads.back() > 0, out);
  add_process(c, out);
  out.place = [layout](const std::string& ours) {
    const OurName n = parse_our_name(ours);
    return n.way.empty() ? place_outside(layout, n, ours) : place_in_edm(layout, n, ours);
  };
  add_constants(c, layout, out);
  return out;
}

}  // namespace tweedie
