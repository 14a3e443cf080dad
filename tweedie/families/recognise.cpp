#include "tweedie/families/recognise.h"

#include <cmath>

namespace tweedie {
namespace {

/// A dimension of a tensor; 0 if there is none such.
int64_t size_of(const TensorSizes& tensors, const std::string& name, size_t dimension) {
  const auto found = tensors.find(name);
  return found == tensors.end() || dimension >= found->second.size() ? 0 : found->second[dimension];
}

/// How many there are of prefix0suffix, prefix1suffix, ...
int64_t count_of(const TensorSizes& tensors, const std::string& prefix, const std::string& suffix) {
  int64_t count = 0;
  while (tensors.count(prefix + std::to_string(count) + suffix) > 0) ++count;
  return count;
}

Recognised diffusers(const TensorSizes& t) {
  Json widths = Json::array();
  for (int64_t i = 0;; ++i) {
    const std::string name = "down_blocks." + std::to_string(i) + ".resnets.0.conv2.weight";
    const int64_t width = size_of(t, name, 0);
    if (width == 0) break;
    widths.push_back(width);
  }
  Json config = {{"_class_name", "UNet2DModel"},
                 {"in_channels", size_of(t, "conv_in.weight", 1)},
                 {"out_channels", size_of(t, "conv_out.weight", 0)},
                 {"block_out_channels", widths},
                 {"layers_per_block", count_of(t, "down_blocks.0.resnets.", ".conv2.weight")}};
  if (const int64_t rows = size_of(t, "class_embedding.weight", 0))
    config["num_class_embeds"] = rows;
  return {"diffusers UNet2DModel", config};
}

Recognised guided(const TensorSizes& t) {
  Json config = {{"_class_name", "UNetModel"},
                 {"in_channels", size_of(t, "input_blocks.0.0.weight", 1)},
                 {"model_channels", size_of(t, "time_embed.0.weight", 1)},
                 {"out_channels", size_of(t, "out.2.weight", 0)}};
  const int64_t width = size_of(t, "input_blocks.1.0.out_layers.3.weight", 0);
  if (width > 0)
    config["use_scale_shift_norm"] =
        size_of(t, "input_blocks.1.0.emb_layers.1.weight", 0) == 2 * width;
  if (const int64_t rows = size_of(t, "label_emb.weight", 0)) config["num_classes"] = rows;
  return {"guided-diffusion UNetModel", config};
}

/// "model.enc.32x32_conv.weight" is where the image comes in.
std::optional<Recognised> edm(const TensorSizes& t) {
  for (const auto& [name, sizes] : t) {
    const std::string prefix = "model.enc.", suffix = "_conv.weight";
    if (!name.starts_with(prefix) || !name.ends_with(suffix) || sizes.size() != 4) continue;
    const std::string resolution =
        name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
    const size_t cross = resolution.find('x');
    if (cross == std::string::npos || cross > 6 ||
        resolution.substr(0, cross).find_first_not_of("0123456789") != std::string::npos)
      continue;
    const bool song = t.count("model.out_conv.weight") == 0;
    Json config = {{"model_type", song ? "SongUNet" : "DhariwalUNet"},
                   {"img_resolution", std::stoll(resolution.substr(0, cross))},
                   {"img_channels", sizes[1]}};
    if (const int64_t labels = size_of(t, "model.map_label.weight", 1))
      config["label_dim"] = labels;
    if (const int64_t augmentations = size_of(t, "model.map_augment.weight", 1))
      config["augment_dim"] = augmentations;
    if (song)
      config["embedding_type"] = t.count("model.map_noise.freqs") > 0 ? "fourier" : "positional";
    return Recognised{"EDM network over " + config["model_type"].get<std::string>(), config};
  }
  return std::nullopt;
}

Recognised transformer(const TensorSizes& t) {
  const std::string patches = "x_embedder.proj.weight";
  const int64_t width = size_of(t, patches, 0), channels = size_of(t, patches, 1),
                patch = size_of(t, patches, 2), out = size_of(t, "final_layer.linear.weight", 0);
  Json config = {{"_class_name", "DiT"},
                 {"in_channels", channels},
                 {"hidden_size", width},
                 {"patch_size", patch},
                 {"depth", count_of(t, "blocks.", ".attn.qkv.weight")}};
  const auto side =
      static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(size_of(t, "pos_embed", 1)))));
  if (side > 0) config["input_size"] = side * patch;
  if (channels > 0 && patch > 0) config["learn_sigma"] = out == 2 * patch * patch * channels;
  if (const int64_t rows = size_of(t, "y_embedder.embedding_table.weight", 0))
    config["num_classes"] = rows - 1;  // one row is "no class", as DiT is trained with
  return {"DiT", config};
}

}  // namespace

std::optional<Recognised> recognise_weights(const TensorSizes& tensors) {
  const auto has = [&](const char* name) { return tensors.count(name) > 0; };
  if (has("conv_in.weight") && has("time_embedding.linear_1.weight") &&
      has("down_blocks.0.resnets.0.conv2.weight"))
    return diffusers(tensors);
  if (has("input_blocks.0.0.weight") && has("time_embed.0.weight") && has("out.2.weight"))
    return guided(tensors);
  if (has("x_embedder.proj.weight") && has("blocks.0.adaLN_modulation.1.weight"))
    return transformer(tensors);
  return edm(tensors);
}

}  // namespace tweedie
